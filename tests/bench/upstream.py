"""The engine that every contender is measured against: canned OpenAI answers at a given pace.

It does as little as a server can, so that what is measured is what stands in front of it. The model's
name sets the pace: `instant` answers in one write, any other one at `--pace` tokens a second.
"""

import argparse
import asyncio
from typing import cast

import httptools
import msgspec
import uvloop

MODELS = ("instant", "paced")
MAX_TOKENS = 4096
_HEAD = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench",'
)
_ROLE = (
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)
_TOKEN = b'"choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
_FINISH = b'"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
_DONE = b"data: [DONE]\n\n"


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class Ask(msgspec.Struct):
    """What of a request decides the answer."""

    model: str
    max_tokens: int = 16
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()


_read = msgspec.json.Decoder(Ask).decode


def _usage(tokens: int) -> bytes:
    return b'"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}' % (
        tokens,
        tokens + 9,
    )


def _whole(tokens: int) -> bytes:
    return (
        b'{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"%b","refusal":null},"logprobs":null,'
        b'"finish_reason":"length"}],%b}'
    ) % (b" token" * tokens, _usage(tokens))


def _chunk(frames: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frames), frames)


_MODEL_LIST = b'{"object":"list","data":[%b]}' % b",".join(
    b'{"id":"%b","object":"model","created":1,"owned_by":"bench"}' % name.encode()
    for name in MODELS
)


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time on it."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._path = b""
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._next_s = 0.0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a cast, not an assertion: uvloop's transports only look like asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- httptools' callbacks -----------------------------------------------------------

    def on_message_begin(self) -> None:
        self._body.clear()
        self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._path == b"/v1/models":
            self._answer(_MODEL_LIST)
        elif self._path == b"/v1/chat/completions":
            self._chat(_read(b"".join(self._body)))
        else:
            self._answer(b'{"error":{"message":"no such path"}}', b"404 Not Found")

    # -- answers ------------------------------------------------------------------------

    def _answer(self, body: bytes, status: bytes = b"200 OK") -> None:
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )

    def _chat(self, ask: Ask) -> None:
        tokens = min(ask.max_tokens, MAX_TOKENS)
        if not ask.stream:
            self._answer(_whole(tokens))
            return
        usage = b""
        if ask.stream_options.include_usage:
            usage = b'%b"choices":[],%b}\n\n' % (_HEAD, _usage(tokens))
        self._tail = _chunk(_HEAD + _FINISH + usage + _DONE) + b"0\r\n\r\n"
        opening = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        ) + _chunk(_HEAD + _ROLE)
        if ask.model == "instant":
            self._transport.write(opening + _chunk((_HEAD + _TOKEN) * tokens) + self._tail)
            return
        self._transport.write(opening)
        self._left = tokens
        self._next_s = self._loop.time()
        self._token()

    def _token(self) -> None:
        """One token, one write; the pace is kept against the clock, so delays do not add up."""
        if self._left == 0:
            self._transport.write(self._tail)
            return
        self._left -= 1
        self._transport.write(_TOKEN_CHUNK)
        self._next_s += self._gap_s
        self._timer = self._loop.call_at(self._next_s, self._token)


_TOKEN_CHUNK = _chunk(_HEAD + _TOKEN)


async def serve(port: int, pace: float) -> None:
    """Serve on loopback until the process is stopped."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(1.0 / pace), "127.0.0.1", port)
    bound = server.sockets[0].getsockname()[1]
    print(f"upstream on http://127.0.0.1:{bound}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, default=50.0, help="tokens a second of a stream")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.pace))


if __name__ == "__main__":
    main()
