"""A whole gateway between two sockets that are none: what it costs, without the kernel and its moods.

Clients and the backend are transports in this process that hold what is written to them, so that a request is
the same work each time: the calls that it makes can be counted, and its CPU time is Python's alone. A client's
bytes go in by `data_received` and come out of `write`, just as with a socket.
"""

import asyncio
import logging
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, TypeVarTuple

from gateway import configuration
from gateway.listener import Listener
from gateway.runtime import Gateway

Args = TypeVarTuple("Args")
T = TypeVar("T")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNK = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
ROLE = (
    b'%b"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)
TOKEN = b'%b"choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n' % _CHUNK
FINISH = (
    b'%b"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
    b'%b"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}}\n\n'
    b"data: [DONE]\n\n"
)
CONFIG = """\
bind_addr: 127.0.0.1:0
pools: [{id: memory, engine: openai, endpoint: "http://127.0.0.1:9", max_inflight: 4096}]
models:
  - {name: first, pool: memory, quality: 0.9}
  - {name: assistant-small, pool: memory, upstream: first, quality: 0.7}
"""


def chunked(frames: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frames), frames)


def opening() -> bytes:
    return HEAD + chunked(ROLE % _CHUNK)


def closing(tokens: int) -> bytes:
    return chunked(FINISH % (_CHUNK, _CHUNK, tokens, tokens + 9)) + b"0\r\n\r\n"


def whole_answer(tokens: int) -> bytes:
    """A stream that came at once."""
    return opening() + chunked(TOKEN * tokens) + closing(tokens)


class MemoryTransport(asyncio.Transport):
    """Keeps what is written. `on_write` hears of it."""

    def __init__(self, on_write: Callable[[bytes], object] = lambda data: None) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.paused = self._closing = False
        self.protocol: asyncio.BaseProtocol | None = None
        self._on_write = on_write
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MemoryLoop)
        self._socket = loop.quiet

    def receive(self, data: bytes) -> None:
        """`data` comes from the other side."""
        assert isinstance(self.protocol, asyncio.Protocol)
        self.protocol.data_received(data)

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self._on_write(self.written[-1])

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self._socket, "peername": ("127.0.0.1", 1)}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if self.protocol is not None:
                asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close


class MemoryLoop(asyncio.SelectorEventLoop):
    """Connections that the gateway opens are `backends`; the server that it starts is `served`."""

    def __init__(self) -> None:
        super().__init__()
        self.served: Callable[[], asyncio.Protocol] | None = None
        self.backends: list[MemoryTransport] = []
        self.on_request: Callable[[MemoryTransport], object] = lambda transport: None
        self.gateway: Gateway | None = None
        self.clients: list[Client] = []
        self.scheduled = 0
        """Callbacks so far: steps of tasks, and what waits for futures."""
        self.quiet, self._peer = socket.socketpair()
        """What all transports say they are: nothing ever comes there."""

    def close(self) -> None:
        self.quiet.close()
        self._peer.close()
        super().close()

    def call_soon(
        self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        self.scheduled += 1
        return super().call_soon(callback, *args, context=context)

    async def create_connection(self, protocol_factory: Any, *args: Any, **kw: Any) -> Any:
        protocol = protocol_factory()
        transport = MemoryTransport(lambda data: self.on_request(transport))
        transport.protocol = protocol
        protocol.connection_made(transport)
        self.backends.append(transport)
        return transport, protocol

    async def create_server(self, protocol_factory: Any, *args: Any, **kw: Any) -> Any:
        self.served = protocol_factory
        return await super().create_server(asyncio.Protocol, *args, **kw)


class Client:
    """One connection to the gateway."""

    def __init__(self, loop: MemoryLoop) -> None:
        assert loop.served is not None
        loop.clients.append(self)
        self.protocol = loop.served()
        self.transport = MemoryTransport(self._wrote)
        self.transport.protocol = self.protocol
        self._heard: asyncio.Event = asyncio.Event()
        self.protocol.connection_made(self.transport)

    def _wrote(self, data: bytes) -> None:
        self._heard.set()

    def send(self, data: bytes) -> None:
        self.protocol.data_received(data)

    async def answer_begins(self) -> None:
        """It stays in `transport.written`."""
        while not self.transport.written:
            self._heard.clear()
            await self._heard.wait()

    async def answer(self, until: bytes = b"") -> bytes:
        """Whatever comes until `until` is in it; all of it, and then it is forgotten."""
        while True:
            got = b"".join(self.transport.written)
            if got and until in got:
                self.transport.written.clear()
                return got
            self._heard.clear()
            await self._heard.wait()


def request(
    *,
    stream: bool,
    tokens: int = 16,
    headers: str = "",
    model: str = "first",
    token: str = "nobody",
) -> bytes:
    """A chat request as the openai SDK sends it."""
    body = (
        '{"messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":'
        f'"Tell me of the sea."}}],"model":"{model}","max_tokens":{tokens},'
        f'"stream":{"true" if stream else "false"}}}'
    )
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: gzip, deflate\r\n"
        "Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
        "User-Agent: OpenAI/Python 1.0.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\n"
        f"Authorization: Bearer {token}\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def until(done: Callable[[], bool]) -> None:
    """Let the event loop turn; what takes longer than this is stuck."""
    for _ in range(1000):
        if done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never comes to that")


@asynccontextmanager
async def gateway(config: str = CONFIG, policies: str | None = None) -> AsyncIterator[MemoryLoop]:
    """A gateway that serves, `loop.gateway`; to be run on a MemoryLoop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MemoryLoop)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "setpoint.yaml"
        if policies is not None:
            (Path(folder) / "policies.yaml").write_text(policies)
            config += "policies: policies.yaml\n"
        path.write_text(config)
        served = loop.gateway = Gateway(configuration.load(path, env={}))
        for pool in served.pools.values():
            for endpoint in pool.endpoints:
                from adapters.dialect import EndpointState

                pool.learn(endpoint, EndpointState(live=True, ready=True, why="ok"))
        listener = await Listener.start(served, "127.0.0.1", 0)
        try:
            yield loop
        finally:
            for client in loop.clients:  # who left is not waited for
                client.transport.close()
            await asyncio.sleep(0)
            await listener.close()
            await served.aclose()


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """How often each function is called meanwhile, those of C included."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, what: str, value: Any) -> None:
        if what == "call":
            code = frame.f_code
            calls[f"{os.path.relpath(code.co_filename)}:{code.co_qualname}"] += 1
        elif what == "c_call":
            calls[f"C:{value.__qualname__}"] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def run(scene: Callable[[MemoryLoop], Awaitable[T]], policies: str | None = None) -> T:
    async def served() -> T:
        async with gateway(policies=policies) as loop:
            return await scene(loop)

    loop = MemoryLoop()
    logging.disable()  # what a line costs depends on who listens, and here pytest would
    try:
        return loop.run_until_complete(served())
    finally:
        logging.disable(logging.NOTSET)
        loop.close()


async def calls_of_requests(
    loop: MemoryLoop, tokens: Iterable[str] = ("nobody",), times: int = 15
) -> list[Counter[str]]:
    """Of some that are not streamed, one after the other, each by itself; `tokens` take turns."""
    loop.on_request = lambda backend: loop.call_soon(backend.receive, whole_answer(16))
    client, token_of, seen = Client(loop), cycle(tokens), []
    for turn in range(times + 5):
        asked = request(stream=False, token=next(token_of))
        with counting() as calls:
            client.send(asked)
            answer = await client.answer()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        loop.backends[-1].written.clear()
        if turn >= 5:  # the first ones make what all others find
            seen.append(calls)
    return seen
