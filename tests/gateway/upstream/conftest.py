"""A raw TCP server that plays exact bytes, and a sink that writes down what it hears."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from adapters.dialect import WireHead, WireRequest
from contracts.errors import UpstreamFault
from gateway.upstream import HttpTransport


def pytest_asyncio_loop_factories(config, item):
    """Every test here that has a loop runs on both."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def request(self) -> bytes:
        """The next request, head and body (by its content-length)."""
        head = await self.head()
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        return head + await self._reader.readexactly(length)

    async def head(self) -> bytes:
        """The head of the next request. Its body stays unread, and stuck when it is large."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def first_byte(self) -> bytes:
        return await self._reader.readexactly(1)

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a segment of its own, as far as a test can ask for that."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    def send_unnoticed(self, data: bytes) -> None:
        """Straight into the kernel: it is there, and no event loop has looked."""
        os.write(self._writer.get_extra_info("socket").fileno(), data)

    async def close(self) -> None:
        self._writer.close()

    async def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def gone(self) -> bytes:
        """What else came until the client closed or reset."""
        rest = b""
        try:
            while piece := await self._reader.read(65536):
                rest += piece
        except ConnectionError:
            pass
        return rest


Play = Callable[[Peer], Awaitable[None]]


def script(*answers: list[bytes], then: str = "wait") -> Play:
    """Each request is met with the next answer, sent piece by piece."""

    async def play(peer: Peer) -> None:
        for pieces in answers:
            await peer.request()
            await peer.send(*pieces)
        if then == "wait":
            await peer.gone()
        elif then == "close":
            await peer.close()
        elif then == "reset":
            await peer.reset()

    return play


class ScriptedServer:
    """Plays one script a connection, in order. A connection too many is closed at once, and fails
    the test at its end."""

    def __init__(self) -> None:
        self.accepted = 0
        self.port = 0
        self._plays: list[Play] = []
        self._running: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    async def listen(self, *plays: Play, host: str = "127.0.0.1", **options: Any) -> str:
        """Start; returns the URL."""
        self._plays = list(plays)
        self._server = await asyncio.start_server(self._accept, host, 0, **options)
        self.port = self._server.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if options.get('ssl') else 'http'}://{shown}:{self.port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.accepted > len(self._plays):
            writer.close()
            return
        play = self._plays[self.accepted - 1]
        task = asyncio.current_task()
        assert task is not None
        self._running.append(task)
        try:
            await play(Peer(reader, writer))
        finally:
            writer.close()

    async def finished(self) -> None:
        """Every script so far has run to its end without an error."""
        async with asyncio.timeout(10):
            await asyncio.gather(*self._running)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        assert self.accepted <= len(self._plays)


class RecordingSink:
    """What a sink heard, checked for order as it comes."""

    def __init__(self) -> None:
        self.head: WireHead | None = None
        self.pieces: list[bytes] = []
        self.error: UpstreamFault | None = None
        self.endings: list[str] = []
        self.on_first_data: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def on_head(self, head: WireHead) -> None:
        assert self.head is None
        assert not self.endings
        self.head = head
        self._changed.set()

    def on_data(self, data: bytes) -> None:
        assert self.head is not None
        assert not self.endings
        self.pieces.append(data)
        if len(self.pieces) == 1:
            self.on_first_data()
        self._changed.set()

    def on_end(self) -> None:
        assert self.head is not None
        self.endings.append("end")
        self._changed.set()

    def on_error(self, error: UpstreamFault) -> None:
        self.error = error
        self.endings.append(type(error).__name__)
        self._changed.set()

    async def until(self, condition: Callable[["RecordingSink"], object]) -> None:
        async with asyncio.timeout(10):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def ending(self) -> str:
        """Its one ending; nothing follows it in the loop's next rounds."""
        await self.until(lambda sink: sink.endings)
        await settle()
        assert len(self.endings) == 1
        return self.endings[0]


async def settle() -> None:
    """Let everything that is ready happen."""
    for _ in range(10):
        await asyncio.sleep(0)


def wire(body: bytes = b'{"a":1}', *headers: tuple[str, str]) -> WireRequest:
    return WireRequest(method="POST", path="/v1/x", headers=headers, body=body)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    await scripted.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., HttpTransport]]:
    """Builds transports and closes them at the end. Nothing may be left to the loop's handler."""
    built: list[HttpTransport] = []
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def build(url: str, **options: Any) -> HttpTransport:
        settings = {
            "connect_timeout_s": 5.0,
            "max_connections": 4,
            "where": "pool local, endpoint 1",
        }
        built.append(HttpTransport(url, **{**settings, **options}))
        return built[-1]

    yield build
    for transport in built:
        await transport.aclose()
        assert transport.connections == 0
    assert reported == []


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    heard = RecordingSink()
    yield heard
    assert len(heard.endings) <= 1


@pytest.fixture
def new_sink() -> type[RecordingSink]:
    return RecordingSink


@pytest.fixture
def request_of() -> Callable[..., WireRequest]:
    return wire


@pytest.fixture
def settled() -> Callable[[], Awaitable[None]]:
    return settle


@pytest.fixture
def playing() -> Callable[..., Play]:
    return script
