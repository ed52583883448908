"""What fakes of providers do alike on a real socket: they keep what they were asked, answer in pieces of any
size, and notice a client that leaves. What they say, and what they refuse, is each one's own.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from tests.fakes.answers import Answer, Refusal


class Asked(msgspec.Struct):
    """One request as it came in. Header names are lower-case."""

    path: str
    headers: dict[str, str]
    body: Any


Said = Answer | Refusal | bytes
"""`bytes` are a stream's own bytes."""


class FakeProvider:
    """`async with Fake(...) as fake`, then point a client at `fake.url`. The last answer stays."""

    stream_type = "text/event-stream"
    identity: dict[str, str] = {}
    """Headers of every answer."""

    def __init__(self, *answers: Said, cut: int = 1_000_000) -> None:
        """`cut` is how many bytes of a stream are sent at a time."""
        self._answers: list[Said] = list(answers) or [Answer(text=("Hello",))]
        self._cut = cut
        self.asked: list[Asked] = []
        self.hold_after: int | None = None
        """Bytes of a stream after which nothing more comes."""
        self.left = asyncio.Event()
        """Set once a client has gone before its answer was complete."""
        self._runner: web.AppRunner | None = None
        self.url = ""

    def routes(self, app: web.Application) -> None:
        raise NotImplementedError

    def answers(self, *answers: Said) -> None:
        """From here on."""
        self._answers = list(answers)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        self.routes(app)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def kept(self, request: web.Request) -> Asked:
        """The request, noted."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = msgspec.json.decode(await request.read())
        self.asked.append(Asked(request.path_qs, headers, body))
        return self.asked[-1]

    def next_answer(self) -> Said:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def json(self, body: bytes) -> web.Response:
        return web.Response(body=body, content_type="application/json", headers=self.identity)

    def error(self, refused: Refusal) -> web.Response:
        return web.Response(
            status=refused.status,
            body=refused.body,
            content_type=refused.kind,
            headers={**self.identity, **refused.headers},
        )

    async def stream(self, request: web.Request, stream: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={**self.identity, "cache-control": "no-cache"})
        response.content_type = self.stream_type
        await response.prepare(request)
        sendable = stream if self.hold_after is None else stream[: self.hold_after]
        try:
            for start in range(0, len(sendable), self._cut):
                await response.write(sendable[start : start + self._cut])
            if len(sendable) < len(stream):
                await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        await response.write_eof()
        return response
