"""The engine that every contender is measured against: canned OpenAI answers at a given pace.

It does as little as a server can, so that what is measured is what stands in front of it: the bytes are made
before they are asked for, the parser is llhttp and the event loop libuv. The model's name sets the pace:

    instant     everything in one write
    paced-50    50 tokens a second in each stream, each token a write of its own

A stream of the user `hold` never ends: after its tokens there is nothing until the client leaves.
`GET /largest-gap` says how late this process itself was: the largest time between two tokens of one stream
since it was last asked.
"""

import argparse
import asyncio
import functools
from typing import cast

import httptools
import msgspec
import uvloop

from tests.bench.answers import MAX_TOKENS, PROMPT_TOKENS, text, token
from tests.bench.plan import HOLD

MODELS = ("instant", "paced-10", "paced-50")
TICK_S = 0.001
_HEAD = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench",'
)
_ROLE = (
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)
_TOKEN = b'"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
_FINISH = b'"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
_DONE = b"data: [DONE]\n\n"


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class Ask(msgspec.Struct, frozen=True):
    """What of a request decides the answer."""

    model: str
    max_tokens: int = 16
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str = ""


_read = msgspec.json.Decoder(Ask).decode


def _chunk(frames: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frames), frames)


_TOKENS = [_HEAD + _TOKEN % token(index).encode() for index in range(MAX_TOKENS)]
_TOKEN_CHUNKS = [_chunk(frame) for frame in _TOKENS]
_OPENING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
) + _chunk(_HEAD + _ROLE)
_MODEL_LIST = b'{"object":"list","data":[%b]}' % b",".join(
    b'{"id":"%b","object":"model","created":1,"owned_by":"bench"}' % name.encode()
    for name in MODELS
)


def _json(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def _usage(tokens: int) -> bytes:
    return b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
        PROMPT_TOKENS,
        tokens,
        PROMPT_TOKENS + tokens,
    )


@functools.lru_cache(64)
def _whole(tokens: int) -> bytes:
    return _json(
        b'{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"%b","refusal":null},"logprobs":null,'
        b'"finish_reason":"length"}],%b}' % (text(tokens).encode(), _usage(tokens))
    )


@functools.lru_cache(64)
def _tail(tokens: int, include_usage: bool) -> bytes:
    usage = b'%b"choices":[],%b}\n\n' % (_HEAD, _usage(tokens)) if include_usage else b""
    return _chunk(_HEAD + _FINISH + usage + _DONE) + b"0\r\n\r\n"


@functools.lru_cache(64)
def _at_once(tokens: int, include_usage: bool) -> bytes:
    return _OPENING + _chunk(b"".join(_TOKENS[:tokens])) + _tail(tokens, include_usage)


class Wheel:
    """Streams of one pace. Each has its place among the ticks of one gap, the emptiest when it began, so
    that tokens come spread out, and one timer serves all. Ticks keep to the clock: delays do not add up."""

    def __init__(self, gap_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: list[set[Connection]] = [set() for _ in range(max(1, round(gap_s / TICK_S)))]
        self._tick_s = gap_s / len(self._slots)
        self._at = 0
        self._next_s = 0.0
        self._members = 0
        self._turning = False
        self.largest_gap_s = 0.0

    def add(self, connection: "Connection") -> int:
        """Start a stream; returns its slot. It has its next token within one gap."""
        slot = min(range(len(self._slots)), key=lambda index: len(self._slots[index]))
        self._slots[slot].add(connection)
        self._members += 1
        if not self._turning:
            self._turning = True
            self._next_s = self._loop.time() + self._tick_s
            self._loop.call_at(self._next_s, self._turn)
        return slot

    def remove(self, connection: "Connection", slot: int) -> None:
        self._slots[slot].discard(connection)
        self._members -= 1

    def _turn(self) -> None:
        now_s = self._loop.time()
        for connection in tuple(self._slots[self._at]):
            gap_s = now_s - connection.wrote_s
            if gap_s > self.largest_gap_s:
                self.largest_gap_s = gap_s
            connection.wrote_s = now_s
            connection.next_token()
        self._at = (self._at + 1) % len(self._slots)
        self._next_s += self._tick_s
        self._turning = self._members > 0
        if self._turning:
            self._loop.call_at(self._next_s, self._turn)


class Wheels:
    """A wheel for each pace that was asked for."""

    def __init__(self) -> None:
        self._wheels: dict[str, Wheel] = {}

    def of(self, model: str) -> Wheel:
        if model not in self._wheels:
            self._wheels[model] = Wheel(1.0 / float(model.removeprefix("paced-")))
        return self._wheels[model]

    def take_largest_gap_s(self) -> float:
        largest_s = max((wheel.largest_gap_s for wheel in self._wheels.values()), default=0.0)
        for wheel in self._wheels.values():
            wheel.largest_gap_s = 0.0
        return largest_s


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time on it."""

    def __init__(self, wheels: Wheels) -> None:
        self._wheels = wheels
        self._parser = httptools.HttpRequestParser(self)
        self._body = self._path = b""
        self._wheel: Wheel | None = None
        self._slot = self._sent = self._tokens = 0
        self._tail = b""
        self.wrote_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a cast, not an assertion: uvloop's transports only look like asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()

    # -- httptools' callbacks -----------------------------------------------------------

    def on_message_begin(self) -> None:
        self._body = self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if self._path == b"/v1/chat/completions":
            self._chat(_read(self._body))
        elif self._path == b"/v1/models":
            self._transport.write(_json(_MODEL_LIST))
        elif self._path == b"/health":
            self._transport.write(_json(b"{}"))
        elif self._path == b"/largest-gap":
            self._transport.write(_json(b"%.6f" % self._wheels.take_largest_gap_s()))
        else:
            self._transport.write(_json(b'{"error":{"message":"no such path"}}', b"404 Not Found"))

    # -- answers ------------------------------------------------------------------------

    def _chat(self, ask: Ask) -> None:
        tokens = min(ask.max_tokens, MAX_TOKENS)
        include_usage = ask.stream_options is not None and ask.stream_options.include_usage
        if not ask.stream:
            self._transport.write(_whole(tokens))
            return
        if ask.model == "instant":
            self._transport.write(_at_once(tokens, include_usage))
            return
        self._transport.write(_OPENING + _TOKEN_CHUNKS[0])
        self._sent, self._tokens = 1, tokens
        self._tail = b"" if ask.user == HOLD else _tail(tokens, include_usage)
        self._wheel = self._wheels.of(ask.model)
        self.wrote_s = asyncio.get_running_loop().time()
        self._slot = self._wheel.add(self)

    def next_token(self) -> None:
        """The wheel's turn: one token, one write; the answer's end has a turn of its own."""
        if self._sent < self._tokens:
            frames = _TOKEN_CHUNKS[self._sent]
            self._sent += 1
            self._transport.write(frames)
            return
        self._stop()
        if self._tail:
            self._transport.write(self._tail)

    def _stop(self) -> None:
        if self._wheel is not None:
            self._wheel.remove(self, self._slot)
            self._wheel = None


async def serve(port: int) -> None:
    """Serve on loopback until the process is stopped."""
    loop = asyncio.get_running_loop()
    wheels = Wheels()
    server = await loop.create_server(lambda: Connection(wheels), "127.0.0.1", port, backlog=4096)
    bound = server.sockets[0].getsockname()[1]
    print(f"upstream on http://127.0.0.1:{bound}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
