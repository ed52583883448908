"""The HTTP edge: which path does what, and what surrounds every request.

Every error that has not begun its answer yet leaves here as OpenAI's error object.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping

import msgspec
from aiohttp import web, web_exceptions

from contracts.errors import (
    GatewayError,
    MethodNotAllowed,
    ModelNotFound,
    RouteNotFound,
)
from contracts.openai_api import ModelEntry, ModelList
from contracts.problems import ProblemsFound, did_you_mean
from gateway.auth import Caller
from gateway.capabilities import capabilities
from gateway.control import Control
from gateway.control_endpoints import ControlEndpoints
from gateway.endpoint import Endpoint
from gateway.error_answers import SERVER, ErrorAnswers
from gateway.head_lines import read
from gateway.http_request import ASKED, HttpRequest
from gateway.inbound.messages_errors import error_body as anthropic_error
from gateway.inbound.messages_tongue import MessagesTongue
from gateway.inbound.responses_tongue import ResponsesTongue
from gateway.inbound.token_counter import TokenCounter
from gateway.inference_endpoint import InferenceEndpoint, log_bug
from gateway.openai_tongue import OpenAITongue
from gateway.openapi import published
from gateway.pool_endpoints import PoolEndpoints
from gateway.pools import Pool
from gateway.reception import Reception
from gateway.runtime import Gateway, discretion
from gateway.tasks.desk import TaskDesk
from gateway.tasks.endpoints import TaskEndpoints
from gateway.tongues import Tongue

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Switch = Callable[..., Handler]
"""Called with a path, the handler that answers it here, and "POST" where a path has two methods."""
MESSAGES = "/v1/messages"
"""Where Anthropic's language is spoken, errors included; and in what is below."""
_SERVER = f"Server: {SERVER}\r\n"
_json = msgspec.json.Encoder().encode


def answered_here(path: str, handler: Handler, method: str = "GET") -> Handler:
    """All is answered in this process."""
    return handler


def make_app(edge: "Edge", switch: Switch = answered_here) -> web.Application:
    """All paths of one gateway. `switch` stands in front of what another process may have to answer."""
    app = web.Application(client_max_size=edge.body_limit, middlewares=[edge.boundary])
    app.on_response_prepare.append(edge.tell_in_each_head)
    for path in edge.inference:
        app.router.add_post(path, _past_the_router)
    app.router.add_post(
        f"{MESSAGES}/count_tokens", edge.count_tokens, expect_handler=edge.expectation
    )

    def get(path: str, handler: Handler) -> None:
        app.router.add_get(path, switch(path, handler))

    def post(path: str, handler: Handler) -> None:
        app.router.add_post(path, switch(path, handler))

    tasks = edge.tasks
    app.router.add_post(
        "/v1/tasks",
        switch("/v1/tasks", tasks.submit, "POST"),
        expect_handler=edge.expectation,
    )
    get("/v1/tasks", tasks.list)
    get("/v1/tasks/{id}", tasks.look)
    get("/v1/tasks/{id}/stream", tasks.stream)
    post("/v1/tasks/{id}/cancel", tasks.cancel)
    app.router.add_get("/v1/models", edge.models)
    app.router.add_get("/v1/models/{id:.+}", edge.model)
    get("/v1/intents", edge.intents)
    get("/v1/decisions", edge.decisions)
    get("/v1/pools", edge.pools)
    get("/v1/pools/{id:.+}/health", edge.pool_health)
    post("/v1/pools/{id:.+}/drain", edge.drain_pool)
    post("/v1/pools/{id:.+}/reload", edge.reload_pool)
    app.router.add_get("/v1/capabilities", edge.capabilities)
    app.router.add_get("/livez", edge.livez)
    app.router.add_get("/readyz", edge.readyz)
    app.router.add_get("/health", edge.readyz)
    get("/metrics", edge.metrics)
    app.router.add_get("/openapi.json", edge.openapi)
    post("/admin/reload", edge.reload)
    return app


async def _past_the_router(request: web.Request) -> web.StreamResponse:
    """These paths are the router's as well only so that it can say 405, and list them."""
    raise AssertionError("the connection has handlers of its own for them")


class Edge:
    """The handlers of one gateway; `control` tells what its loop decided, `desk` takes tasks."""

    def __init__(self, gateway: Gateway, control: Control, desk: TaskDesk) -> None:
        self._gateway = gateway
        self.body_limit = int(gateway.config.limits.body)
        self.afterwards = gateway.afterwards
        self._control = ControlEndpoints(gateway, control)
        self._pools = PoolEndpoints(gateway)
        self._errors = ErrorAnswers(discretion(gateway.loaded), lambda: gateway.draining)
        self._reception = Reception(gateway)
        self.inference = {
            path: InferenceEndpoint(
                gateway,
                tongue,
                self._errors,
                self._reception,
                desk.registry,
                self._told_by_anthropic if path == MESSAGES else self._told,
            ).answer
            for path, tongue in _tongues().items()
        }
        """By path, for a POST; these go past aiohttp's router and `boundary`."""
        self._counter = TokenCounter(gateway, self._reception)
        self.tasks = TaskEndpoints(gateway, self._errors, self._reception, desk)
        self._openapi = published()

    # -- around every request -----------------------------------------------------------

    async def tell_in_each_head(self, request: web.Request, response: web.StreamResponse) -> None:
        """aiohttp calls this before it sends a head that its router has led to."""
        self._tell(request[ASKED], response.headers)

    def _tell(self, request: HttpRequest, headers: MutableMapping[str, str]) -> None:
        """What every answer says, an error's and a stream's too: so no handler can forget to tell a caller
        how its budget stands."""
        told = self._told_by_anthropic if _speaks_anthropic(request) else self._told
        headers.update(read(told(request)))

    def _told_by_anthropic(self, request: HttpRequest) -> str:
        """`request-id` is where its SDKs look for it."""
        return f"request-id: {request.request_id}\r\n{self._told(request)}"

    def _told(self, request: HttpRequest) -> str:
        """As lines of a head."""
        budgets = self._gateway.budgets
        if not budgets.any:
            return _SERVER
        try:
            visitor = request.visitor or self._reception.visitor(request)
        except GatewayError:
            return _SERVER  # nobody who may know anything
        return _SERVER + budgets.lines(visitor.caller.name)

    @web.middleware
    async def boundary(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turns errors into answers."""
        try:
            response = await handler(request)
            if not response.prepared:
                self._tell(request[ASKED], response.headers)
            return response
        except GatewayError as exc:
            return self._refuse(request, exc)
        except web_exceptions.HTTPNotFound:
            return self._refuse(request, self._no_route(request))
        except web_exceptions.HTTPMethodNotAllowed as exc:
            allowed = ", ".join(sorted(exc.allowed_methods))
            error = MethodNotAllowed(f"{request.method} is not allowed here, only {allowed}")
            return self._refuse(request, error, {"Allow": allowed})
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as exc:
            log_bug(request[ASKED], exc)
            return self._refuse(request, GatewayError("internal error"))

    def _refuse(
        self, request: web.Request, error: GatewayError, headers: dict[str, str] | None = None
    ) -> web.Response:
        """In the language that is spoken at this path."""
        asked = request[ASKED]
        encode = anthropic_error if _speaks_anthropic(asked) else GatewayError.encode
        response = self._errors.answer(error, asked.request_id, headers, encode=encode)
        if asked.awaits_word:
            response.force_close()
        self._tell(asked, response.headers)
        return response

    async def expectation(self, request: web.Request) -> web.Response | None:
        """`Expect: 100-continue` before a body is sent, also to where it is handed on to unread."""
        try:
            self._reception.invite(request[ASKED])
        except GatewayError as exc:
            return self._refuse(request, exc)
        return None

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        return await self._counter.answer(request)

    def _no_route(self, request: web.Request) -> RouteNotFound:
        known = [r.canonical for r in request.app.router.resources()]
        hint = did_you_mean(request.path, known)
        return RouteNotFound(f"there is no {request.path[:200] or 'such path'} here ({hint})")

    def _caller(self, request: web.Request) -> Caller:
        return self._reception.caller(request[ASKED])

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

    async def pools(self, request: web.Request) -> web.Response:
        """What stands behind the gateway, and how it is."""
        self._caller(request)
        return _answer(request, self._pools.pools())

    async def pool_health(self, request: web.Request) -> web.Response:
        self._caller(request)
        return _answer(request, self._pools.health(request.match_info["id"]))

    async def drain_pool(self, request: web.Request) -> web.Response:
        """Dispatch nothing more to a pool; `?wait=30s` answers when nothing runs there any more."""
        self._reception.operator(request[ASKED])
        wait = request.query.get("wait")
        return _answer(request, await self._pools.drain(request.match_info["id"], wait))

    async def reload_pool(self, request: web.Request) -> web.Response:
        """Take a pool into service as if it were new; answers with its health."""
        self._reception.operator(request[ASKED])
        return _answer(request, await self._pools.reload(request.match_info["id"]))

    async def capabilities(self, request: web.Request) -> web.Response:
        """What this gateway can do, for clients that adapt."""
        self._caller(request)
        paths = {resource.canonical for resource in request.app.router.resources()}
        return _answer(request, _json(capabilities(self._gateway, paths)))

    async def livez(self, request: web.Request) -> web.Response:
        """The process runs its event loop; asks nobody else."""
        return _answer(request, b'{"status":"ok"}')

    async def readyz(self, request: web.Request) -> web.Response:
        """Can it serve? 503 while draining or while no backend is ready, with the reason."""
        gateway = self._gateway
        pools = {
            pool.id: [
                {"endpoint": e.index + 1, "ready": e in pool.ready, "why": _why(pool, e)}
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
                "x-request-id": request[ASKED].request_id,
            },
        )

    async def openapi(self, request: web.Request) -> web.Response:
        return _answer(request, self._openapi)

    async def reload(self, request: web.Request) -> web.Response:
        """Read the policies again; 422 with every problem if they are broken."""
        self._reception.operator(request[ASKED])
        try:
            policy = await self._gateway.reload_policies()
        except ProblemsFound as exc:
            problems = [str(problem) for problem in exc.problems]
            body = _json({"status": "refused", "problems": problems})
            return _answer(request, body, status=422)
        return _answer(request, _json({"status": "ok", "version": policy.version}))


def _tongues() -> dict[str, Tongue]:
    return {
        "/v1/chat/completions": OpenAITongue("chat"),
        "/v1/completions": OpenAITongue("completion"),
        "/v1/embeddings": OpenAITongue("embedding"),
        "/v1/responses": ResponsesTongue(),
        MESSAGES: MessagesTongue(),
    }


def _speaks_anthropic(request: HttpRequest) -> bool:
    return request.path == MESSAGES or request.path.startswith(f"{MESSAGES}/")


def _why(pool: Pool, endpoint: Endpoint) -> str:
    """Why it takes work, or takes none."""
    if pool.state in ("draining", "drained"):
        return "its pool is out of service"
    return endpoint.state.why


def _answer(request: web.Request, body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=body,
        headers={"x-request-id": request[ASKED].request_id},
        content_type="application/json",
    )
