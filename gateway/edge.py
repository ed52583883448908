"""The HTTP edge: which path does what, and what surrounds every request.

Every error that has not begun its answer yet leaves here as OpenAI's error object.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import HttpVersion11, web, web_exceptions

from contracts.errors import (
    GatewayError,
    MethodNotAllowed,
    ModelNotFound,
    RouteNotFound,
)
from contracts.inference import Operation
from contracts.openai_api import ModelEntry, ModelList
from contracts.problems import ProblemsFound, did_you_mean
from gateway.auth import Caller
from gateway.control import Control
from gateway.control_endpoints import ControlEndpoints
from gateway.error_answers import SERVER, Discretion, ErrorAnswers, new_request_id
from gateway.inference_endpoint import InferenceEndpoint, log_bug
from gateway.openapi import document as openapi_document
from gateway.protocol import EdgeProtocol
from gateway.request_record import REQUEST_ID
from gateway.runtime import Gateway

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_json = msgspec.json.Encoder().encode


def make_app(gateway: Gateway, control: Control) -> web.Application:
    """The application of one gateway; `control` tells what its loop decided."""
    edge = Edge(gateway, control)
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
    app.router.add_get("/v1/intents", edge.intents)
    app.router.add_get("/v1/decisions", edge.decisions)
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

    def __init__(self, gateway: Gateway, control: Control) -> None:
        self._gateway = gateway
        self._control = ControlEndpoints(gateway, control)
        loaded = gateway.loaded
        addresses = (url for spec in loaded.pools for url in spec.endpoints)
        self._errors = ErrorAnswers(
            Discretion(loaded.redactor(), addresses), lambda: gateway.draining
        )
        self._inference = InferenceEndpoint(gateway, self._errors)
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
            return self._errors.answer(exc, request[REQUEST_ID])
        except web_exceptions.HTTPNotFound:
            return self._errors.answer(self._no_route(request), request[REQUEST_ID])
        except web_exceptions.HTTPMethodNotAllowed as exc:
            allowed = ", ".join(sorted(exc.allowed_methods))
            error = MethodNotAllowed(f"{request.method} is not allowed here, only {allowed}")
            return self._errors.answer(error, request[REQUEST_ID], {"Allow": allowed})
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as exc:
            log_bug(request, exc)
            return self._errors.answer(GatewayError("internal error"), request[REQUEST_ID])
        finally:
            protocol.ended()

    async def expectation(self, request: web.Request) -> web.Response | None:
        """`Expect: 100-continue` before a body is sent: a body that is too large is refused unsent."""
        if request.version < HttpVersion11:
            return None
        if request.headers["Expect"].lower() != "100-continue":
            raise web_exceptions.HTTPExpectationFailed
        if (refused := self._inference.refuse_unsent(request)) is not None:
            response = self._errors.answer(refused, request_id(request))
            response.force_close()
            return response
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # this was not yet the answer
        return None

    def inference(self, operation: Operation) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._inference.answer(request, operation)

        return handle

    def _no_route(self, request: web.Request) -> RouteNotFound:
        known = [r.canonical for r in request.app.router.resources()]
        hint = did_you_mean(request.path, known)
        return RouteNotFound(f"there is no {request.path[:200] or 'such path'} here ({hint})")

    def _caller(self, request: web.Request) -> Caller:
        return self._gateway.auth.caller(request.headers, request.remote)

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

    async def intents(self, request: web.Request) -> web.Response:
        """Is each promise kept?"""
        self._caller(request)
        return _answer(request, self._control.intents())

    async def decisions(self, request: web.Request) -> web.StreamResponse:
        """What the control loop decided, and whether it worked: JSON, or events as they come."""
        self._caller(request)
        found = await self._control.decisions(request)
        return _answer(request, found) if isinstance(found, bytes) else found

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
            policy = await self._gateway.reload_policies()
        except ProblemsFound as exc:
            problems = [str(problem) for problem in exc.problems]
            body = _json({"status": "refused", "problems": problems})
            return _answer(request, body, status=422)
        return _answer(request, _json({"status": "ok", "version": policy.version}))


def _answer(request: web.Request, body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=body,
        headers={"x-request-id": request[REQUEST_ID]},
        content_type="application/json",
    )
