"""A transport that plays a script: what a backend sends, and when. For virtual time.

It keeps the promises of `adapters.transport`: callbacks come later, never from within `start`, and
none comes after `cancel`.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from adapters.dialect import WireHead, WireRequest
from adapters.transport import ResponseSink
from contracts.errors import ConnectFailed, UpstreamFault

Step = tuple[float, Callable[[ResponseSink], None]]
"""Seconds after the start, and what happens then."""
Script = Sequence[Step]


def chunk(delta: dict[str, object], *, finish: str | None = None, index: int = 0) -> bytes:
    """One SSE event of a chat stream."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % msgspec.json.encode({"id": "up", "choices": [choice]})


USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def head(at_s: float, status: int = 200, **headers: str) -> Step:
    named = {"content-type": "text/event-stream"} if status == 200 else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return at_s, lambda sink: sink.on_head(WireHead(status=status, headers=named))


def data(at_s: float, raw: bytes) -> Step:
    return at_s, lambda sink: sink.on_data(raw)


def end(at_s: float) -> Step:
    return at_s, lambda sink: sink.on_end()


def broken(at_s: float, error: UpstreamFault) -> Step:
    return at_s, lambda sink: sink.on_error(error)


def answer(
    text: Sequence[str] = ("Hel", "lo"), *, start_s: float = 0.1, gap_s: float = 0.1
) -> Script:
    """A healthy stream: one piece every `gap_s`, then finish, usage and the end marker."""
    steps = [head(start_s / 2), data(start_s / 2, chunk({"role": "assistant", "content": None}))]
    at_s = start_s
    for piece in text:
        steps.append(data(at_s, chunk({"content": piece})))
        at_s += gap_s
    return [*steps, data(at_s, chunk({}, finish="stop") + USAGE + DONE), end(at_s)]


def refusal(status: int, body: bytes = b'{"error":{"message":"no"}}', **headers: str) -> Script:
    return [head(0.01, status, **headers), data(0.01, body), end(0.01)]


def unreachable() -> Script:
    return [broken(0.01, ConnectFailed("cannot connect", fault="unavailable"))]


class Played:
    """One exchange of a script."""

    def __init__(self, script: Script, sink: ResponseSink) -> None:
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._start_s = self._loop.time()
        self._left = list(script)
        self._due = True
        self.cancelled_at_s: float | None = None
        self.paused = False
        self.pauses = 0
        self._wait()

    def _wait(self) -> None:
        """One timer at a time: timers of the same moment have no order among themselves."""
        if self._left:
            self._due = False
            self._loop.call_at(self._start_s + max(self._left[0][0], 1e-6), self._play)

    def _play(self) -> None:
        self._due = True
        if self.paused or self.cancelled_at_s is not None:
            return
        _, action = self._left.pop(0)
        action(self._sink)
        self._wait()

    def cancel(self) -> None:
        if self.cancelled_at_s is None:
            self.cancelled_at_s = self._loop.time()

    def pause(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume(self) -> None:
        self.paused = False
        if self._due and self._left:
            self._wait()


class ScriptedTransport:
    """Plays its scripts one after the other, the last one for ever."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[WireRequest] = []
        self.started_s: list[float] = []
        self.exchanges: list[Played] = []

    def start(self, request: WireRequest, sink: ResponseSink) -> Played:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        self.requests.append(request)
        self.started_s.append(asyncio.get_running_loop().time())
        self.exchanges.append(Played(script, sink))
        return self.exchanges[-1]

    async def aclose(self) -> None:
        for exchange in self.exchanges:
            exchange.cancel()
