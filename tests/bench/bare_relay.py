"""The contender to know Python's own limit by: two protocols on uvloop, llhttp on both sides, and nothing else.

It decodes the request and encodes it again, and so every event of a stream; an answer that is not streamed is passed
on likewise. No task runs for a request or a token. It keeps connections, and trusts everybody: a body that ends early
or an event cut in two by more than a read is beyond it, as are limits, errors, timeouts and slow readers.
"""

import asyncio
from typing import cast

import httptools
import msgspec

from tests.bench.proxy_command import run

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ASK = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: upstream\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)
_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class Upstream:
    """The connections that are idle, and where to make others."""

    def __init__(self, url: str, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self._idle: list[Answering] = []

    def ask(self, client: "Asking", body: bytes) -> None:
        if self._idle:
            self._idle.pop().ask(client, body)
        else:
            self._tasks.create_task(self._dial(client, body))

    def idle(self, connection: "Answering") -> None:
        self._idle.append(connection)

    async def _dial(self, client: "Asking", body: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Answering(self), *self._address)
        connection.ask(client, body)


class Answering(asyncio.Protocol):
    """One connection to the upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._client: Asking | None = None
        self._begun, self._events = b"", list[bytes]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, client: "Asking", body: bytes) -> None:
        assert self._transport is not None
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(_ASK % (len(body), body))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._events and self._client is not None:
            self._client.send(b"".join(self._events))
        self._events.clear()

    def on_body(self, body: bytes) -> None:
        assert self._client is not None
        *whole, self._begun = (self._begun + body).split(b"\n\n" if self._client.streams else b"\0")
        for event in whole:
            data = event.removeprefix(b"data: ")
            shown = b"data: %b\n\n" % (data if data == b"[DONE]" else _encode(_decode(data)))
            self._events.append(b"%x\r\n%b\r\n" % (len(shown), shown))

    def on_message_complete(self) -> None:
        assert self._client is not None
        if self._client.streams:
            self._events.append(b"0\r\n\r\n")
        else:
            body = _encode(_decode(self._begun))
            self._events.append(_WHOLE % (len(body), body))
        self._begun = b""
        self._upstream.idle(self)


class Asking(asyncio.Protocol):
    """One connection of a client."""

    streams = False

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        asked = _decode(b"".join(self._body))
        self._body.clear()
        self.streams = asked.get("stream", False)
        self._head = _STREAM if self.streams else b""
        self._upstream.ask(self, _encode(asked))

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        head, self._head = self._head, b""
        self._transport.write(head + data)


async def serve(port: int, url: str) -> None:
    """Serve on loopback until the process is stopped."""
    async with asyncio.TaskGroup() as tasks:
        upstream = Upstream(url, tasks)
        server = await asyncio.get_running_loop().create_server(
            lambda: Asking(upstream), "127.0.0.1", port, backlog=4096
        )
        await server.serve_forever()


if __name__ == "__main__":
    run(__doc__, serve)
