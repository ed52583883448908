"""A load generator that costs little: fixed numbers of requests over keep-alive connections.

Prints one JSON line: what was asked, what came back, and how long it took. Whatever is not a whole
and right answer counts as an error; a run never outlasts `--limit` seconds.
"""

import argparse
import asyncio
import time
from typing import Literal, cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

MARK = b'" token'
"""Stands once in each streamed token of the upstream, and nowhere else in a stream."""
DONE = b"data: [DONE]\n\n"


class Run(msgspec.Struct, kw_only=True):
    """A run and its result. Latencies in seconds, from the request's writing to the first token's
    arrival (`first_s`) and to the answer's end (`whole_s`)."""

    mode: Literal["whole", "stream"]
    requests: int
    concurrency: int
    tokens: int
    """Tokens each answer has."""
    done: int = 0
    errors: int = 0
    tokens_seen: int = 0
    elapsed_s: float = 0.0
    whole_s: list[float] = []
    first_s: list[float] = []


class Client(asyncio.Protocol):
    """One connection: asks again as soon as it has its answer, until the run has no more to ask."""

    def __init__(self, run: Run, request: bytes, take: "Ticket") -> None:
        self._run = run
        self._request = request
        self._take = take
        self._parser = httptools.HttpResponseParser(self)
        self._tail = self._end = b""
        self._content = 0
        self._asked_s = self._first_s = 0.0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a cast, not an assertion: uvloop's transports only look like asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self._run.errors += 1
            self.finished.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def _ask(self) -> None:
        if not self._take():
            if not self.finished.done():
                self.finished.set_result(None)
            self._transport.close()
            return
        self._tail = self._end = b""
        self._content, self._first_s = 0, 0.0
        self._asked_s = time.perf_counter()
        self._transport.write(self._request)

    # -- httptools' callbacks -----------------------------------------------------------

    def on_body(self, data: bytes) -> None:
        if not self._content:
            self._first_s = time.perf_counter()
        if self._run.mode == "whole":
            self._content += data.count(b" token")
            return
        seen = self._tail + data
        self._content += seen.count(MARK)
        # one byte less than a mark: enough to find one that is cut, too little to count one twice
        self._tail = seen[-(len(MARK) - 1) :]
        self._end = (self._end + data)[-len(DONE) :]

    def on_message_complete(self) -> None:
        now_s = time.perf_counter()
        run = self._run
        whole = run.mode == "whole" or self._end == DONE
        if self._parser.get_status_code() == 200 and self._content == run.tokens and whole:
            run.done += 1
            run.tokens_seen += self._content
            run.whole_s.append(now_s - self._asked_s)
            run.first_s.append(self._first_s - self._asked_s)
        else:
            run.errors += 1
        # httptools refuses to be fed again from within its own callback
        asyncio.get_running_loop().call_soon(self._ask)


class Ticket:
    """Hands out a fixed number of requests."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self) -> bool:
        self._left -= 1
        return self._left >= 0


async def generate(url: str, run: Run, limit_s: float) -> Run:
    """Carry out `run` against `url`; returns it with its results. Raises OSError."""
    parts = urlsplit(url)
    asked = {
        "model": "instant" if run.mode == "whole" else "paced",
        "messages": [{"role": "user", "content": "Say token, again and again."}],
        "max_tokens": run.tokens,
        "temperature": 0.7,
        "stream": run.mode == "stream",
    }
    body = msgspec.json.encode(asked)
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer bench\r\nUser-Agent: bench\r\nContent-Length: %d\r\n\r\n%b"
        % (parts.netloc.encode(), len(body), body)
    )
    loop = asyncio.get_running_loop()
    take = Ticket(run.requests)
    began_s = time.perf_counter()
    clients = []
    for _ in range(min(run.concurrency, run.requests)):
        _, client = await loop.create_connection(
            lambda: Client(run, request, take), parts.hostname, parts.port
        )
        clients.append(client)
    await asyncio.wait([client.finished for client in clients], timeout=limit_s)
    run.elapsed_s = time.perf_counter() - began_s
    run.errors = max(run.errors, run.requests - run.done)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the base URL, without /v1")
    parser.add_argument("--mode", choices=("whole", "stream"), required=True)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="tokens of each answer")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a run may take")
    arguments = parser.parse_args()
    run = Run(
        mode=arguments.mode,
        requests=arguments.requests,
        concurrency=arguments.concurrency,
        tokens=arguments.tokens,
    )
    run = uvloop.run(generate(arguments.url, run, arguments.limit))
    print(msgspec.json.encode(run).decode())


if __name__ == "__main__":
    main()
