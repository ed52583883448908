"""How long a cancel takes to reach the backend: `python tests/bench/cancel.py`

Some streams run on, and meanwhile others are cancelled, one after the other: half of them by a client that
closes its connection, half by `POST /v1/tasks/{id}/cancel` with the chat's own id. Three processes, real sockets: this
client, Setpoint, and an upstream that stamps when it sees its connection closed. All clocks are the machine's one
monotonic clock, so the stamps of two processes can be compared. What is measured begins when the client has asked
its kernel to close or to send, and ends in the upstream's callback: both event loops and the scheduler are in it. How
much of it is the machine's own, the same client shows who asks the upstream directly.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import httptools
import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent))
from processes import HERE, running

Way = Literal["close", "request"]
WAYS: tuple[Way, ...] = ("close", "request")
LIMIT_S = 10.0
"""A cancel that has not arrived by then has not arrived."""
PIECES = 3
"""So much of an answer its client has had when it cancels."""
CONFIG = """\
bind_addr: 127.0.0.1:0
pools: [{id: bench, engine: openai, endpoint: UPSTREAM, max_inflight: 4096}]
models: [{name: paced, pool: bench, quality: 0.9}]
logging: {level: info, format: json}
"""
_OPENING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_FRAME = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"paced","choices":'
    b'[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)
_TOKEN = b"%x\r\n%b\r\n" % (len(_FRAME), _FRAME)
_MODELS = (
    b'{"object":"list","data":[{"id":"paced","object":"model","created":1,"owned_by":"bench"}]}'
)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from each cancel to the upstream, by way, in the order they were made."""

    seconds: dict[Way, list[float]]
    waited: list[float]
    """How much of each of these the gateway stood ready and had no core; in the order of `every`."""
    directly: list[float]
    """The same without a gateway in between."""
    streams: int
    tokens: int
    """What those that ran on were sent meanwhile, through the gateway."""

    def every(self) -> list[float]:
        """Way by way."""
        return [second for told in self.seconds.values() for second in told]


class NotArrived(Exception):
    """A cancel did not reach the upstream, or an answer was wrong; the text says which."""


# -- the upstream, a process of its own --------------------------------------------------------


class Upstream(asyncio.Protocol):
    """One connection. Streams for ever; says on stdout which prompt's connection was closed, and when."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._parser = httptools.HttpRequestParser(self)
        self._path = self._body = b""
        self._prompt = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a cast, not an assertion: uvloop's transports only look like asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        now_s = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        if self._prompt:
            print(f"{self._prompt} {now_s!r}", flush=True)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if self._path == b"/v1/chat/completions":
            self._prompt = json.loads(self._body)["messages"][-1]["content"]
            self._transport.write(_OPENING)
            self._token()
        else:
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            )
            self._transport.write(head % (len(_MODELS), _MODELS))
        self._path = self._body = b""

    def _token(self) -> None:
        self._transport.write(_TOKEN)
        self._timer = asyncio.get_running_loop().call_later(self._gap_s, self._token)


async def serve(pace: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(1.0 / pace), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]} listens", flush=True)
    await server.serve_forever()


# -- the client --------------------------------------------------------------------------------


class Stream(asyncio.Protocol):
    """One streamed chat. `begun` is done once its client has had `PIECES` tokens."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self.tokens = 0
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        asked = {"model": "paced", "messages": [{"role": "user", "content": self._prompt}]}
        head = f"X-Request-Id: {self._prompt}\r\n".encode()
        self.transport.write(
            _request("/v1/chat/completions", msgspec.json.encode(asked | {"stream": True}), head)
        )

    def data_received(self, data: bytes) -> None:
        self.tokens += data.count(b'" token"')
        if self.tokens >= PIECES and not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(
                NotArrived(f"{self._prompt}: the stream ended before it began")
            )


class Asking(asyncio.Protocol):
    """A keep-alive connection that cancels by id."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def cancel(self, name: str) -> None:
        self._transport.write(_request(f"/v1/tasks/{name}/cancel", b""))


def _request(path: str, body: bytes, head: bytes = b"") -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (path.encode(), head, len(body), body)
    )


class Arrivals:
    """What the upstream says, in a file that its output goes to."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self._output = output
        self._seen: dict[str, float] = {}

    async def at_s(self, name: str) -> float:
        """When that connection was seen to be closed. Raises NotArrived."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while name not in self._seen:
                    who, _, when = (await self._output.readline()).decode().partition(" ")
                    if not when:
                        raise NotArrived("the upstream has ended")
                    self._seen[who] = float(when)
        except TimeoutError:
            raise NotArrived(f"{name}: not within {LIMIT_S:g} s") from None
        return self._seen.pop(name)


def waited_s(pid: int) -> float:
    """How long the main thread of a process has stood ready without a core, since it began."""
    told = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text("ascii")
    return int(told.split()[1]) / 1e9


async def measure(
    url: str, pid: int, arrivals: Arrivals, ways: Sequence[Way], *, streams: int, cancels: int
) -> tuple[dict[Way, list[float]], dict[Way, list[float]], int]:
    """`cancels` of each way, while `streams` run on: how long each took, how much of it the process `pid` waited
    for a core, and the tokens that those streams were sent meanwhile. Raises NotArrived, OSError."""
    loop = asyncio.get_running_loop()
    host, _, port = url.removeprefix("http://").partition(":")

    async def open_stream(name: str) -> Stream:
        _, stream = await loop.create_connection(lambda: Stream(name), host, int(port))
        async with asyncio.timeout(LIMIT_S):
            await stream.begun
        return stream

    running_on = [await open_stream(f"runs-{number}") for number in range(streams)]
    _, asking = await loop.create_connection(Asking, host, int(port))
    before = sum(stream.tokens for stream in running_on)
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    waited: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(cancels):
        for way in ways:
            name = f"{way}-{number}"
            stream = await open_stream(name)
            waited_before_s = waited_s(pid)
            begun_s = time.monotonic()
            if way == "close":
                stream.transport.abort()
            else:
                asking.cancel(name)
            seconds[way].append(await arrivals.at_s(name) - begun_s)
            waited[way].append(waited_s(pid) - waited_before_s)
            stream.transport.abort()
    tokens = sum(stream.tokens for stream in running_on) - before
    for stream in running_on:
        if stream.transport.is_closing():
            raise NotArrived("a stream that was to run on has ended")
        stream.transport.abort()
    return seconds, waited, tokens


async def bench(folder: Path, *, streams: int, cancels: int, pace: float) -> Measured:
    """Start both servers, measure, stop them. Raises BenchError, NotArrived, OSError."""
    upstream = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / "cancel.py"), "--serve", "--pace", str(pace)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert upstream.stdout is not None
        url = (await upstream.stdout.readline()).split()[0].decode()
        config = folder / "setpoint.yaml"
        config.write_text(CONFIG.replace("UPSTREAM", url), encoding="utf-8")
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config)]
        cores = os.sched_getaffinity(0)
        with running("Setpoint", command, cores, folder / "setpoint.log") as (gateway, pid):
            arrivals, load = Arrivals(upstream.stdout), {"streams": streams, "cancels": cancels}
            directly, _, _ = await measure(url, upstream.pid, arrivals, ("close",), **load)
            seconds, waited, tokens = await measure(gateway, pid, arrivals, WAYS, **load)
        return Measured(
            seconds=seconds,
            waited=[second for told in waited.values() for second in told],
            directly=directly["close"],
            streams=streams,
            tokens=tokens,
        )
    finally:
        upstream.kill()
        await upstream.wait()


# -- showing -----------------------------------------------------------------------------------


def percentile(seconds: list[float], share: float) -> float:
    """The smallest that at least `share` of them do not exceed."""
    ordered = sorted(seconds)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]


def report(measured: Measured, load: float) -> str:
    every = measured.every()
    awake = [max(0.0, s - waited) for s, waited in zip(every, measured.waited, strict=True)]
    rows = [
        ("both ways together", every),
        ("the client closes", measured.seconds["close"]),
        ("`POST /v1/tasks/{id}/cancel`", measured.seconds["request"]),
        ("both, less what the gateway waited for a core", awake),
        ("without a gateway: the client closes", measured.directly),
    ]
    lines = [
        f"{len(every)} cancels beside {measured.streams} streams, which were sent {measured.tokens} tokens "
        f"meanwhile; load average {load:.1f} on {len(os.sched_getaffinity(0))} cores, Python "
        f"{platform.python_version()}.",
        "",
        "| | p50 ms | p99 ms | most ms |",
        "|---|---|---|---|",
    ]
    for name, told in rows:
        cells = [
            f"{s * 1000:.2f}" for s in (percentile(told, 0.5), percentile(told, 0.99), max(told))
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="that run on")
    parser.add_argument("--cancels", type=int, default=200, help="in all, half of each way")
    parser.add_argument("--pace", type=float, default=50.0, help="tokens a second of each stream")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.pace))
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="setpoint-bench-") as folder:
        work = bench(
            Path(folder),
            streams=arguments.streams,
            cancels=max(1, arguments.cancels // len(WAYS)),
            pace=arguments.pace,
        )
        try:
            measured = uvloop.run(work)
        except NotArrived as exc:
            print(exc, file=sys.stderr)
            return 1
    print(report(measured, load))
    return 0


if __name__ == "__main__":
    sys.exit(main())
