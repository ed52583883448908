"""A fake Anthropic on a real socket: it checks what it is asked, and answers in Anthropic's words.

It is proven by the official SDK, in both versions of the API (`tests/fakes/test_anthropic.py`). Answers come
in pieces of any size; one can be held back, to see what becomes of a client that leaves.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from tests.fakes import anthropic_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.anthropic_rules import complaint


class Asked(msgspec.Struct):
    """One request as it came in. Header names are lower-case."""

    headers: dict[str, str]
    body: Any


class FakeAnthropic:
    """`async with FakeAnthropic() as fake`, then point a client at `fake.url`. The last answer stays."""

    def __init__(self, *answers: Answer | Refusal | bytes, cut: int = 1_000_000) -> None:
        """`cut` is how many bytes of a stream are sent at a time. `bytes` are a stream's own bytes."""
        self._answers: list[Answer | Refusal | bytes] = list(answers) or [Answer(text=("Hello",))]
        self._cut = cut
        self.asked: list[Asked] = []
        self.models: Sequence[str] = (anthropic_words.MODEL,)
        self.hold_after: int | None = None
        """Bytes of a stream after which nothing more comes."""
        self.left = asyncio.Event()
        """Set once a client has gone before its answer was complete."""
        self._runner: web.AppRunner | None = None
        self.url = ""

    def answers(self, *answers: Answer | Refusal | bytes) -> None:
        """From here on."""
        self._answers = list(answers)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_get("/v1/models", self._models)
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

    async def _models(self, request: web.Request) -> web.Response:
        if "anthropic-version" not in request.headers:
            return _error(anthropic_words.refusal("invalid_request_error", "anthropic-version"))
        body = anthropic_words.model_list(*self.models)
        return web.Response(body=body, content_type="application/json")

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = msgspec.json.decode(await request.read())
        self.asked.append(Asked(headers, body))
        refused = complaint(headers, body)
        if refused is not None:
            return _error(refused)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Refusal):
            return _error(answer)
        if not body.get("stream"):
            assert isinstance(answer, Answer), "bytes are a stream"
            told = anthropic_words.document(answer)
            return web.Response(body=told, content_type="application/json", headers=_IDENTITY)
        stream = anthropic_words.stream(answer) if isinstance(answer, Answer) else answer
        return await self._stream(request, stream)

    async def _stream(self, request: web.Request, stream: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_IDENTITY, "cache-control": "no-cache"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
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


_IDENTITY = {"request-id": "req_011CZfake", "anthropic-organization-id": "org-fake"}


def _error(refused: Refusal) -> web.Response:
    return web.Response(
        status=refused.status,
        body=refused.body,
        content_type=refused.kind,
        headers={**_IDENTITY, **refused.headers},
    )
