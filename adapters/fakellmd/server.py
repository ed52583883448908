"""The fake llm-d on a socket: aiohttp around a `FakeLlmd`, and nothing else.

A client that leaves is noticed at once (`handler_cancellation`) and its sequences leave the engine.
A client that reads slowly pauses its exchange.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from adapters.dialect import WireHead, WireRequest
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings
from adapters.transport import Exchange
from contracts.errors import UpstreamFault

_FAKE: web.AppKey[FakeLlmd] = web.AppKey("fake", FakeLlmd)
_BUFFER_BYTES = 256 * 1024
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
"""Headers that aiohttp writes itself."""


class _Inbox:
    """A `ResponseSink` that a handler can await. Full, it pauses its exchange; the handler resumes it."""

    exchange: Exchange

    def __init__(self) -> None:
        self.head: WireHead | None = None
        self.buffer = bytearray()
        self.ended = False
        self.error: UpstreamFault | None = None
        self.news = asyncio.Event()

    def on_head(self, head: WireHead) -> None:
        self.head = head
        self.news.set()

    def on_data(self, data: bytes) -> None:
        self.buffer += data
        self.news.set()
        if len(self.buffer) > _BUFFER_BYTES:
            self.exchange.pause()

    def on_end(self) -> None:
        self.ended = True
        self.news.set()

    def on_error(self, error: UpstreamFault) -> None:
        self.error = error
        self.ended = True
        self.news.set()


def make_app(fake: FakeLlmd) -> web.Application:
    """An application that answers every path as `fake` does.

    Run it with `handler_cancellation=True`, or clients that leave are noticed late.
    """
    app = web.Application(client_max_size=fake.settings.max_body_bytes)
    app[_FAKE] = fake
    app.router.add_route("*", "/{path:.*}", _handle)
    app.on_startup.append(_boot)
    app.on_shutdown.append(_close)
    return app


async def serve(
    settings: LlmdSettings,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Serve until cancelled. `on_listening` gets the bound port (of use with port 0).

    Raises OSError where the address cannot be bound.
    """
    app = make_app(FakeLlmd(settings))
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        if on_listening is not None:
            on_listening(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _boot(app: web.Application) -> None:
    app[_FAKE].boot()


async def _close(app: web.Application) -> None:
    await app[_FAKE].aclose()


async def _handle(request: web.Request) -> web.StreamResponse:
    fake = request.app[_FAKE]
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        error = ApiError(413, f"the body is longer than {fake.settings.max_body_bytes} bytes")
        return web.Response(status=413, body=error.encode(), content_type="application/json")
    wire = WireRequest(
        method=request.method,
        path=request.rel_url.raw_path_qs,
        headers=tuple(request.headers.items()),
        body=body,
    )
    inbox = _Inbox()
    exchange = inbox.exchange = fake.start(wire, inbox)
    try:
        return await _relay(request, inbox)
    finally:
        exchange.cancel()


async def _relay(request: web.Request, inbox: _Inbox) -> web.StreamResponse:
    while inbox.head is None and inbox.error is None:
        await _news(inbox)
    if inbox.head is None:
        return web.Response(status=503)
    response = web.StreamResponse(status=inbox.head.status, headers=_headers(inbox.head))
    length = inbox.head.headers.get("content-length")
    if length is not None:
        response.content_length = int(length)
    await response.prepare(request)
    while inbox.buffer or not inbox.ended:
        if not inbox.buffer:
            await _news(inbox)
            continue
        data = bytes(inbox.buffer)
        inbox.buffer.clear()
        inbox.exchange.resume()
        await response.write(data)
    if inbox.error is None:
        await response.write_eof()
    elif request.transport is not None:
        # Nothing but a broken connection tells the client that the answer is not whole.
        request.transport.abort()
    return response


async def _news(inbox: _Inbox) -> None:
    await inbox.news.wait()
    inbox.news.clear()


def _headers(head: WireHead) -> dict[str, str]:
    return {name: value for name, value in head.headers.items() if name not in _FRAMING}
