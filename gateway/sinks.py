"""What the executor expects of those who receive an answer, and of those who keep the books on it."""

from collections.abc import Sequence
from typing import Protocol

from contracts.errors import GatewayError
from contracts.inference import Target
from gateway.attempt import Upstream
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.receiving import EventSink, Watch
from gateway.slot import Slot


class AnswerSink(EventSink, Protocol):
    """Where an inference's answer goes."""

    async def open(self, progress: Progress) -> None:
        """Content is coming, or the wait has become long: say so to the client. May be called twice."""
        ...

    def attach(self, attempt: Upstream, model: str) -> None:
        """The attempt that now writes; the sink may pause and resume it. `model` is what it is served
        by, as clients name it. What an earlier attempt wrote counts no more."""
        ...

    def entered(self, entry: Entry) -> None:
        """It stands in the queue of a pool, or has been let in or refused there at once. Called for
        each place that is asked for."""
        ...

    async def waiting(self, progress: Progress) -> None:
        """Another `patience_s` went by without an answer."""
        ...

    @property
    def patience_s(self) -> float | None:
        """Seconds between two calls of `waiting`; None: never."""
        ...

    keeps_back: bool
    """The client sees nothing before the end, so it is never opened, and another attempt may start over at any
    time."""


class Recorder(Watch, Protocol):
    """Who is told what becomes of a request, and knows what the queue orders it by."""

    def enter(self, pool: Pool, target: Target, avoid: Sequence[Endpoint]) -> Entry:
        """Ask for a place. Raises NoReadyBackend."""
        ...

    def prefill_s(self, pool: Pool, target: Target) -> float | None:
        """How long the first token will take there, where that was measured."""
        ...

    def dispatched(self, target: Target, slot: Slot) -> None: ...

    def chosen(self, target: Target, slot: Slot, dispatched_s: float) -> None:
        """Of two attempts that ran beside each other, this one counts from now on."""
        ...

    def attempt_failed(self, error: GatewayError) -> None:
        """What it wrote counts no more; another one may begin anew."""
        ...

    def stream_broke(self, error: GatewayError) -> None:
        """It failed after its client had content, which counts; another one may go on."""
        ...
