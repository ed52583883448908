"""Which process answers what: at a worker, and at the hub.

Inference is answered where its connection came in, always. What is about the whole is the hub's; a task is
the worker's that took it; a submission with an idempotency key belongs to one worker, by the key. Must stay
true: what has been handed on is answered where it is.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from contracts.errors import Restarting, TaskNotFound
from gateway.http_request import ASKED
from gateway.workers.forwarding import Peer, first_that_knows, from_all, handed_on, pass_on
from gateway.workers.merged_metrics import MergedMetrics, parsed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OF_THE_WHOLE = frozenset(
    {
        "/metrics",
        "/v1/intents",
        "/v1/decisions",
        "/v1/pools",
        "/v1/pools/{id:.+}/health",
        "/v1/pools/{id:.+}/drain",
        "/v1/pools/{id:.+}/reload",
        "/admin/reload",
    }
)
OF_ONE_TASK = frozenset({"/v1/tasks/{id}", "/v1/tasks/{id}/stream", "/v1/tasks/{id}/cancel"})


class WorkerSwitch:
    """A worker's. `others` are the other workers; `keeper` is the one that has all durable tasks."""

    def __init__(
        self, me: int, count: int, hub: Peer, others: Mapping[int, Peer], *, durable: bool
    ) -> None:
        self._me, self._count = me, count
        self._hub, self._others = hub, others
        self._durable = durable

    def __call__(self, path: str, handler: Handler, method: str = "GET") -> Handler:
        """The handler of a path, with this in front of it."""
        if path in OF_THE_WHOLE:
            return self._either(handler, self._ask_hub)
        if path in OF_ONE_TASK:
            return self._either(handler, self._find(handler))
        if path == "/v1/tasks":
            other = self._submit(handler) if method == "POST" else self._list(handler)
            return self._either(handler, other)
        return handler

    def _either(self, here: Handler, elsewhere: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await (here if handed_on(request) else elsewhere)(request)

        return handle

    async def _ask_hub(self, request: web.Request) -> web.StreamResponse:
        async with self._hub.ask(request) as answer:
            return await pass_on(request, answer)

    def _find(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except TaskNotFound:
                found = await first_that_knows(request, self._others)
                if found is None:
                    raise
                return found

        return handle

    def _submit(self, handler: Handler) -> Handler:
        """With a key it belongs to the key's worker, whichever it came to; durable tasks to the first."""

        async def handle(request: web.Request) -> web.StreamResponse:
            owner = self._me
            if self._durable:
                owner = 0
            elif (key := request.headers.get("idempotency-key")) is not None:
                digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
                owner = int.from_bytes(digest[:4], "big") % self._count
            if owner == self._me:
                return await handler(request)
            async with self._others[owner].ask(request) as answer:
                return await pass_on(request, answer)

        return handle

    def _list(self, handler: Handler) -> Handler:
        """Everybody's, as one list: one that lacks a worker's would say that its tasks are gone."""

        async def handle(request: web.Request) -> web.StreamResponse:
            mine = await handler(request)
            assert isinstance(mine, web.Response)
            if mine.status != 200:
                return mine
            bodies = [mine.body]
            answers = await from_all(request, self._others)
            if len(answers) < len(self._others):
                message = "a worker of this gateway is being started again: repeat in a second"
                raise Restarting(message, retry_after_s=1.0)
            bodies += [body for status, body in answers.values() if status == 200]
            tasks = []
            for body in bodies:
                assert isinstance(body, bytes)
                listed = msgspec.json.decode(body)
                tasks += listed["data"]
            tasks.sort(key=lambda task: (task["created"], task["id"]))
            limit = int(request.query.get("limit", "100"))
            listed["data"] = tasks[-limit:]
            return web.Response(
                body=msgspec.json.encode(listed),
                headers={"x-request-id": request[ASKED].request_id},
                content_type="application/json",
            )

        return handle


class HubSwitch:
    """The hub's: what it answers for all."""

    def __init__(self, workers: Mapping[int, Peer], metrics: MergedMetrics) -> None:
        self._workers = workers
        self._metrics = metrics

    def __call__(self, path: str, handler: Handler, method: str = "GET") -> Handler:
        if path == "/metrics":
            return self._all_metrics(handler)
        if path == "/admin/reload":
            return self._reload_all(handler)
        return handler

    def _all_metrics(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            own = await handler(request)
            assert isinstance(own, web.Response)
            assert isinstance(own.body, bytes)
            if own.status == 200:
                answers = await from_all(request, self._workers)
                for worker, (status, body) in answers.items():
                    if status == 200:
                        self._metrics.told(worker, parsed(body.decode()))
                own.body = self._metrics.text(own.body.decode()).encode()
            return own

        return handle

    def _reload_all(self, handler: Handler) -> Handler:
        """All have it when the answer comes; what one refuses, all refuse, for they read the same files."""

        async def handle(request: web.Request) -> web.StreamResponse:
            own = await handler(request)
            if own.status == 200:
                await from_all(request, self._workers)
            return own

        return handle
