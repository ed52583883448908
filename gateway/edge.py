"""The HTTP edge: what each path does. Reads a request, asks the brain, runs the plan, writes the answer.

Every error leaves here as OpenAI's error object: as a status before the first byte, as the last
event of the stream after it.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import HttpVersion11, web, web_exceptions
from aiohttp.http_exceptions import HttpProcessingError

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import (
    BodyTooLarge,
    ClientFault,
    Draining,
    GatewayError,
    MethodNotAllowed,
    ModelNotFound,
    RejectedByPolicy,
    RequestTimeout,
    RouteNotFound,
    UpstreamFault,
)
from contracts.inference import InferRequest, Operation
from contracts.openai_api import ModelEntry, ModelList
from contracts.problems import ProblemsFound, did_you_mean
from gateway import logs
from gateway.answers import Fold, Identity, StreamWriter
from gateway.auth import Caller
from gateway.error_answers import SERVER, Discretion, headers_of, new_request_id
from gateway.executor import Progress
from gateway.intake import read_request
from gateway.openapi import document as openapi_document
from gateway.protocol import EdgeProtocol
from gateway.replies import FoldReply, Headers, StreamReply
from gateway.runtime import Gateway, plan

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID = web.RequestKey("request_id", str)
CLIENT_GONE = 499
"""Logged and counted, never sent: nobody is there to read it."""
_ID_PREFIX: dict[Operation, str] = {"chat": "chatcmpl-", "completion": "cmpl-", "embedding": "emb-"}
_HIDDEN_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})
_CUT = Draining("this gateway is shutting down and could not wait longer", retry_after_s=1.0)
_json = msgspec.json.Encoder().encode


def make_app(gateway: Gateway) -> web.Application:
    """The application of one gateway."""
    edge = Edge(gateway)
    app = web.Application(
        client_max_size=int(gateway.config.limits.body), middlewares=[edge.boundary]
    )
    app.on_response_prepare.append(_name_the_server)
    paths: dict[str, Operation] = {
        "/v1/chat/completions": "chat",
        "/v1/completions": "completion",
        "/v1/embeddings": "embedding",
    }
    for path, operation in paths.items():
        app.router.add_post(path, edge.inference(operation), expect_handler=edge.expectation)
    app.router.add_get("/v1/models", edge.models)
    app.router.add_get("/v1/models/{id:.+}", edge.model)
    app.router.add_get("/livez", edge.livez)
    app.router.add_get("/readyz", edge.readyz)
    app.router.add_get("/health", edge.readyz)
    app.router.add_get("/metrics", edge.metrics)
    app.router.add_get("/openapi.json", edge.openapi)
    app.router.add_post("/admin/reload", edge.reload)
    return app


async def _name_the_server(request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


def request_id(request: web.Request) -> str:
    """The client's own, if it is fit for a header and a log line; a new one otherwise."""
    given = request.headers.get("x-request-id", "")
    if 0 < len(given) <= 128 and all("!" <= c <= "~" for c in given):
        return given
    return new_request_id()


class Edge:
    """The handlers of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        limits, streams = gateway.config.limits, gateway.config.streams
        self._body_timeout_s = limits.body_timeout
        self._body_limit = int(limits.body)
        self._answer_limit = int(limits.answer)
        self._heartbeat_s = streams.heartbeat
        self._reasoning_field = streams.reasoning_field
        loaded = gateway.loaded
        self._discretion = Discretion(
            loaded.redactor(), (url for spec in loaded.pools for url in spec.endpoints)
        )
        self._openapi = openapi_document()

    # -- around every request -----------------------------------------------------------

    @web.middleware
    async def boundary(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Bounds the head's clock, names the request, and turns errors into answers."""
        protocol = request.protocol
        assert isinstance(protocol, EdgeProtocol)
        protocol.began(request.content)
        request[REQUEST_ID] = request_id(request)
        try:
            return await handler(request)
        except GatewayError as exc:
            return self._error(exc, request[REQUEST_ID])
        except web_exceptions.HTTPNotFound:
            return self._error(self._no_route(request), request[REQUEST_ID])
        except web_exceptions.HTTPMethodNotAllowed as exc:
            allowed = ", ".join(sorted(exc.allowed_methods))
            error = MethodNotAllowed(f"{request.method} is not allowed here, only {allowed}")
            return self._error(error, request[REQUEST_ID], {"Allow": allowed})
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log_bug(request)
            return self._error(GatewayError("internal error"), request[REQUEST_ID])
        finally:
            protocol.ended()

    def _error(
        self, error: GatewayError, request_id: str, headers: Headers | None = None
    ) -> web.Response:
        """`error` as an answer. While draining, the connection closes after it."""
        self._discretion.presentable(error)
        response = web.Response(
            status=error.status,
            headers={**(headers or {}), **headers_of(error, request_id)},
            body=error.encode(request_id),
            content_type="application/json",
        )
        if self._gateway.draining:
            response.force_close()
        return response

    async def expectation(self, request: web.Request) -> web.Response | None:
        """`Expect: 100-continue` before a body is sent: a body that is too large is refused unsent."""
        if request.version < HttpVersion11:
            return None
        if request.headers["Expect"].lower() != "100-continue":
            raise web_exceptions.HTTPExpectationFailed
        if (request.content_length or 0) > self._body_limit:
            response = self._error(self._too_large(), request_id(request))
            response.force_close()
            return response
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # this was not yet the answer
        return None

    def _no_route(self, request: web.Request) -> RouteNotFound:
        known = [r.canonical for r in request.app.router.resources()]
        hint = did_you_mean(request.path, known)
        return RouteNotFound(f"there is no {request.path[:200] or 'such path'} here ({hint})")

    def _caller(self, request: web.Request) -> Caller:
        return self._gateway.auth.caller(request.headers, request.remote)

    async def _body(self, request: web.Request) -> bytes:
        """The whole body, within its bounds of size and time."""
        if (request.content_length or 0) > self._body_limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                return await request.read()
        except TimeoutError as exc:
            raise RequestTimeout(
                f"the body did not arrive within {self._body_timeout_s:g} s"
            ) from exc
        except web_exceptions.HTTPRequestEntityTooLarge as exc:
            raise self._too_large() from exc
        except (web.RequestPayloadError, HttpProcessingError) as exc:
            raise ClientFault(
                "the body is not valid HTTP, or not what its Content-Encoding says"
            ) from exc

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._body_limit} bytes")

    # -- inference ----------------------------------------------------------------------

    def inference(self, operation: Operation) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._infer(request, operation)

        return handle

    async def _infer(self, request: web.Request, operation: Operation) -> web.StreamResponse:
        gateway = self._gateway
        accepted_s = gateway.clock()
        try:
            infer = await self._accept(request, operation)
            policy, catalog = gateway.policy, gateway.catalog
            decision = gateway.decide(infer.facts, policy, catalog)
        except GatewayError as exc:
            _record_refusal(gateway, request, operation, exc, accepted_s)
            raise
        exchange = _Exchange(gateway, request, infer, decision, catalog, accepted_s)
        try:
            if (reject := decision.shaping.reject) is not None:
                raise _rejection(decision, reject.message, reject.retry_after_s, reject.status)
            routing = plan(decision, catalog)
            answer = self._stream if infer.facts.stream else self._whole
            response = await answer(
                exchange,
                lambda sink: gateway.executor.infer(
                    infer, routing, catalog, sink, exchange.progress
                ),
            )
        except (asyncio.CancelledError, ConnectionError):
            if _gone(request):
                exchange.record(CLIENT_GONE, None)
            else:
                exchange.record(Draining.status, _CUT)
            raise
        except GatewayError as exc:
            response = self._error(exc, infer.request_id, exchange.headers(exchange.progress))
            exchange.record(exc.status, exc)
            return response
        except Exception:
            exchange.record(500, GatewayError("internal error"))
            raise
        exchange.record(200, exchange.progress.fault)
        return response

    async def _accept(self, request: web.Request, operation: Operation) -> InferRequest:
        """A request of a caller who may call, read and checked."""
        caller = self._caller(request)
        if self._gateway.draining:
            raise Draining("this gateway is shutting down", retry_after_s=1.0)
        return read_request(
            await self._body(request),
            operation,
            request_id=request[REQUEST_ID],
            key=caller.name,
            headers={
                name.lower(): value
                for name, value in request.headers.items()
                if name.lower() not in _HIDDEN_HEADERS
            },
        )

    async def _stream(self, exchange: "_Exchange", run: "Run") -> web.StreamResponse:
        reply = StreamReply(
            exchange.request,
            StreamWriter(self._identity(exchange), include_usage=exchange.infer.include_usage),
            request_id=exchange.infer.request_id,
            heartbeat_s=self._heartbeat_s,
            headers=exchange.stream_headers,
            present=self._discretion.presentable,
        )
        try:
            await run(reply)
        except GatewayError as exc:
            if not reply.opened:
                raise
            exchange.progress.fault = exc
            reply.fail(exc)
        except asyncio.CancelledError:
            if self._gateway.draining and reply.opened:
                reply.cut(_CUT)
            raise
        except ConnectionError:
            reply.abandon()
            raise
        except Exception:
            reply.abandon()
            if not reply.opened:
                raise
            log_bug(exchange.request)
            exchange.progress.fault = GatewayError("internal error")
            reply.fail(exchange.progress.fault)
        finally:
            reply.stop()
        return await reply.close()

    async def _whole(self, exchange: "_Exchange", run: "Run") -> web.StreamResponse:
        reply = FoldReply(Fold(self._identity(exchange), max_bytes=self._answer_limit))
        await run(reply)
        if exchange.progress.fault is not None:
            raise exchange.progress.fault
        headers = exchange.headers(exchange.progress)
        return web.Response(body=reply.body(), headers=headers, content_type="application/json")

    def _identity(self, exchange: "_Exchange") -> Identity:
        operation = exchange.infer.operation
        return Identity(
            operation=operation,
            id=_ID_PREFIX[operation] + secrets.token_hex(12),
            created_s=int(time.time()),
            model=exchange.decision.shaping.model,
            reasoning_field=self._reasoning_field,
        )

    # -- what is here -------------------------------------------------------------------

    async def models(self, request: web.Request) -> web.Response:
        self._caller(request)
        entries = [self._entry(name) for name in sorted(self._gateway.catalog.models)]
        return _answer(request, _json(ModelList(data=entries)))

    async def model(self, request: web.Request) -> web.Response:
        self._caller(request)
        name = request.match_info["id"]
        known = self._gateway.catalog.models
        if name not in known:
            raise ModelNotFound(
                f"the model {name[:200]!r} does not exist ({did_you_mean(name, known)})",
                param="model",
            )
        return _answer(request, _json(self._entry(name)))

    def _entry(self, name: str) -> ModelEntry:
        card = self._gateway.catalog.models[name]
        return ModelEntry(
            id=name,
            created=self._gateway.started_s,
            owned_by=self._gateway.pools[card.pool].engine,
            context=card.context,
        )

    async def livez(self, request: web.Request) -> web.Response:
        """The process runs its event loop; asks nobody else."""
        return _answer(request, b'{"status":"ok"}')

    async def readyz(self, request: web.Request) -> web.Response:
        """Can it serve? 503 while draining or while no backend is ready, with the reason."""
        gateway = self._gateway
        pools = {
            pool.id: [
                {"endpoint": e.index + 1, "ready": e.state.ready, "why": e.state.why}
                for e in pool.endpoints
            ]
            for pool in gateway.pools.values()
        }
        ready = gateway.ready()
        status = "ok" if ready else "draining" if gateway.draining else "no ready backend"
        body = _json({"status": status, "pools": pools})
        return _answer(request, body, status=200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        self._caller(request)
        body = self._gateway.metrics.exposition()
        return web.Response(
            body=body,
            headers={
                "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
                "x-request-id": request[REQUEST_ID],
            },
        )

    async def openapi(self, request: web.Request) -> web.Response:
        return _answer(request, self._openapi)

    async def reload(self, request: web.Request) -> web.Response:
        """Read the policies again; 422 with every problem if they are broken."""
        self._gateway.auth.operator(request.headers, request.remote)
        try:
            policy = self._gateway.reload_policies()
        except ProblemsFound as exc:
            problems = [str(problem) for problem in exc.problems]
            body = _json({"status": "refused", "problems": problems})
            return _answer(request, body, status=422)
        return _answer(request, _json({"status": "ok", "version": policy.version}))


Run = Callable[[StreamReply | FoldReply], Awaitable[None]]


class _Exchange:
    """One inference request: what is said of it in headers, log and metrics."""

    def __init__(
        self,
        gateway: Gateway,
        request: web.Request,
        infer: InferRequest,
        decision: Decision,
        catalog: Catalog,
        accepted_s: float,
    ) -> None:
        self.request = request
        self.infer = infer
        self.decision = decision
        self._catalog = catalog
        self.progress = Progress(accepted_s=accepted_s)
        self._gateway = gateway

    def headers(self, progress: Progress) -> Headers:
        """What every answer tells about how it came to be."""
        now_s = self._gateway.clock()
        engine_s = 0.0
        if progress.dispatched_s is not None:
            engine_s = (progress.ended_s or now_s) - progress.dispatched_s
        elapsed_s = now_s - progress.accepted_s
        overhead_s = max(0.0, elapsed_s - engine_s - progress.queue_s)
        headers = {
            "x-request-id": self.infer.request_id,
            "x-setpoint-intent": self.decision.intent or "none",
            "x-setpoint-decision": self.decision.summary(),
            "x-setpoint-attempts": str(len(progress.attempts)),
            "x-setpoint-queue-ms": f"{progress.queue_s * 1000:.1f}",
            "x-setpoint-overhead-ms": f"{overhead_s * 1000:.2f}",
            "openai-processing-ms": str(round(elapsed_s * 1000)),
        }
        if progress.target is not None:
            headers["x-setpoint-model"] = progress.target.model
        return headers

    def stream_headers(self, progress: Progress) -> Headers:
        return {
            **self.headers(progress),
            "Cache-Control": "no-cache, no-transform",
            "X-Accel-Buffering": "no",
        }

    def record(self, status: int, error: GatewayError | None) -> None:
        """Log and count the request, whatever became of it."""
        progress, decision, facts = self.progress, self.decision, self.infer.facts
        ended_s = self._gateway.clock()
        if progress.ended_s is None:
            progress.ended_s = ended_s
        model = progress.target.model if progress.target else decision.shaping.model
        self._gateway.metrics.request(
            self.infer,
            decision,
            progress,
            # a rule may refuse before anyone asked whether the client's model exists
            model=model if model in self._catalog.models else "unknown",
            status=status,
            ended_s=ended_s,
        )
        if status == CLIENT_GONE:
            self._gateway.metrics.counter(
                "setpoint_client_disconnects_total", self.infer.operation
            ).inc()
        last = progress.attempts[-1] if progress.attempts else None
        usage = progress.usage
        logs.event(
            logging.WARNING if error is not None and status >= 500 else logging.INFO,
            "request",
            request_id=self.infer.request_id,
            operation=self.infer.operation,
            key=facts.key or None,
            intent=decision.intent or None,
            decision=decision.summary(),
            policy=decision.policy_version,
            model=facts.model,
            served_by=progress.target.model if progress.target else None,
            pool_id=progress.target.pool if progress.target else None,
            replica_id=last.replica if last else None,
            engine=last.engine if last else None,
            engine_version=last.version if last else None,
            model_digest=last.model_digest if last else None,
            status=status,
            stream=facts.stream,
            attempts=[a.fault or "ok" for a in progress.attempts] or None,
            tokens_in=usage.prompt_tokens if usage else None,
            tokens_out=usage.completion_tokens if usage else None,
            finish_reason=",".join(progress.finish_reasons) or None,
            queue_ms=_ms(progress.queue_s),
            ttft_ms=_since(progress.first_token_s, progress.accepted_s),
            upstream_ttft_ms=_since(progress.first_token_s, progress.dispatched_s),
            tpot_ms=_ms(progress.tpot_s),
            e2e_ms=_since(ended_s, progress.accepted_s),
            error=error.code if error else None,
            error_message=error.message if error else None,
            where=error.where if isinstance(error, UpstreamFault) else None,
            client_retry=self.request.headers.get("x-stainless-retry-count"),
        )


def _rejection(
    decision: Decision, message: str, retry_after_s: float | None, status: int
) -> RejectedByPolicy:
    """The rule's refusal. The label names the rule, so that a client can tell one from another."""
    rule = next((r.rule for r in reversed(decision.rules) if r.verdict == "applied"), None)
    error = RejectedByPolicy(message, retry_after_s=retry_after_s, policy_label=rule)
    error.status = status
    return error


def _record_refusal(
    gateway: Gateway,
    request: web.Request,
    operation: Operation,
    error: GatewayError,
    accepted_s: float,
) -> None:
    """Log and count a request that nothing was decided about. What it named is not known to be real,
    so it makes no label."""
    elapsed_s = gateway.clock() - accepted_s
    gateway.metrics.refusal(operation, error.status, elapsed_s)
    logs.event(
        logging.INFO,
        "request",
        request_id=request[REQUEST_ID],
        operation=operation,
        status=error.status,
        e2e_ms=_ms(elapsed_s),
        error=error.code,
        error_message=error.message,
        client_retry=request.headers.get("x-stainless-retry-count"),
    )


def log_bug(request: web.Request) -> None:
    """The exception that is being handled: one of ours."""
    logs.event(logging.ERROR, "bug", request_id=request[REQUEST_ID], path=request.path)
    logging.getLogger("setpoint").exception("bug")


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _answer(request: web.Request, body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=body,
        headers={"x-request-id": request[REQUEST_ID]},
        content_type="application/json",
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _since(end_s: float | None, start_s: float | None) -> float | None:
    return None if end_s is None or start_s is None else _ms(end_s - start_s)
