"""A load generator that costs little: fixed numbers of requests over keep-alive connections.

    python -m tests.bench.load PLAN     # JSON, see plan.py; prints one line of JSON, a `Run`

While it runs it only keeps bytes and times. Every answer is read when the run is over: whatever is not the
whole and right text counts as wrong. A run never outlasts its plan's `limit_s`.
"""

import asyncio
import contextlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

from tests.bench.accounting import tree_cpu_s
from tests.bench.answers import FIRST, refusal, stream_fault, whole_fault
from tests.bench.plan import HOLD, Plan, Run, caller_token


class Shared:
    """What the connections of a run have in common."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.run = Run()
        self.requests = iter(range(plan.requests))
        self.bytes = itertools.cycle(list(_requests(plan)))
        self.answers: list[tuple[int, bytes]] = []
        """Status and body of each."""
        self.begun = 0
        """Streams that have had their first token and not ended."""
        self.closed = 0
        """Connections that ended before their answer."""
        self.clients_done = 0
        self.settled = asyncio.Event()
        """There is nothing more to wait for."""

    def begin(self) -> None:
        self.begun += 1
        self.run.most_at_once = max(self.run.most_at_once, self.begun)
        if self.plan.hold and self.begun == self.plan.concurrency:
            self.settled.set()

    def end(self) -> None:
        """A connection has done its part. One that should be held has failed by that."""
        self.clients_done += 1
        if self.plan.hold or self.clients_done == self.plan.concurrency:
            self.settled.set()


def _requests(plan: Plan) -> Iterator[bytes]:
    """The bytes of a request, once for each caller."""
    asked = {
        "model": plan.model,
        "messages": [{"role": "user", "content": "Count the tokens that you say, one by one."}],
        "max_tokens": plan.tokens,
        "temperature": 0.7,
        "stream": plan.stream,
        **({"stream_options": {"include_usage": True}} if plan.stream else {}),
        **({"user": HOLD} if plan.hold else {}),
    }
    body = msgspec.json.encode(asked)
    further = "".join(f"{name}: {value}\r\n" for name, value in plan.headers)
    for caller in range(plan.callers):
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(plan.url).netloc}\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {caller_token(caller)}\r\n"
            f"User-Agent: bench\r\n{further}Content-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


class Client(asyncio.Protocol):
    """One connection: asks again as soon as it has its answer, until the run has no more to ask."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._run = shared.run
        self._stream = shared.plan.stream
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._asked_s = self._first_s = self._last_s = 0.0
        self._complete = self._done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a cast, not an assertion: uvloop's transports only look like asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done:
            self._done = True
            self._shared.closed += 1
            self._shared.end()

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()
            return
        if self._stream and self._parts:
            self._time(now_s)
        if self._complete:
            self._end(now_s)

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        self._complete = True

    def _time(self, now_s: float) -> None:
        if not self._first_s:
            # The role may come by itself: the first token counts.
            if FIRST not in b"".join(self._parts):
                return
            self._first_s = now_s
            self._shared.begin()
        elif now_s - self._last_s > self._run.largest_gap_s:
            self._run.largest_gap_s = now_s - self._last_s
        self._last_s = now_s

    def _end(self, now_s: float) -> None:
        self._complete = False
        self._run.whole_s.append(now_s - self._asked_s)
        if self._first_s:
            self._run.first_s.append(self._first_s - self._asked_s)
            self._shared.begun -= 1
        self._shared.answers.append((self._parser.get_status_code(), b"".join(self._parts)))
        self._ask()

    def _ask(self) -> None:
        if next(self._shared.requests, None) is None:
            self._done = True
            self._shared.end()
            self._transport.close()
            return
        self._parts.clear()
        self._first_s = 0.0
        request = next(self._shared.bytes)
        self._asked_s = time.perf_counter()
        self._transport.write(request)


@contextlib.asynccontextmanager
async def generating(plan: Plan) -> AsyncIterator[Run]:
    """Carry out `plan`; connections that are held are closed at the end. Raises OSError where nobody listens."""
    shared = Shared(plan)
    run = shared.run
    clients: list[Client] = []
    cpu_s = tree_cpu_s(plan.watch) if plan.watch else 0.0
    began_s, own_s = time.perf_counter(), time.process_time()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(plan.limit_s):
                await _connect(shared, clients)
                await shared.settled.wait()
        run.elapsed_s = time.perf_counter() - began_s
        run.own_cpu_s = time.process_time() - own_s
        if plan.watch:
            run.cpu_s = tree_cpu_s(plan.watch) - cpu_s
        _check(shared)
        yield run
    finally:
        for client in clients:
            client.close()


async def _connect(shared: Shared, clients: list[Client]) -> None:
    plan = shared.plan
    loop = asyncio.get_running_loop()
    parts = urlsplit(plan.url)
    began_s = time.perf_counter()
    for index in range(plan.concurrency):
        due_s = began_s + plan.ramp_s * index / plan.concurrency
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        _, client = await loop.create_connection(
            lambda: Client(shared), parts.hostname or "", parts.port or 80
        )
        clients.append(client)


def _check(shared: Shared) -> None:
    plan, faults = shared.plan, Counter[str]()
    done = shared.begun if plan.hold else 0
    for status, body in shared.answers:
        judge = stream_fault if plan.stream else whole_fault
        fault = refusal(status, body) if status != 200 else judge(body, plan.tokens)
        if fault is None:
            done += 1
        else:
            faults[fault] += 1
    if shared.closed:
        faults["the connection was closed"] = shared.closed
    if missing := plan.requests - done - faults.total():
        faults[f"not there after {shared.run.elapsed_s:.0f} s"] = missing
    shared.run.done = done
    shared.run.wrong = dict(faults)


async def carry_out(plan: Plan) -> None:
    async with generating(plan) as run:
        sys.stdout.write(msgspec.json.encode(run).decode() + "\n")
        sys.stdout.flush()
        if plan.hold:
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    if not 1 <= plan.concurrency <= plan.requests:
        raise SystemExit("a plan needs as many requests as run at once")
    uvloop.run(carry_out(plan))


if __name__ == "__main__":
    main()
