"""Where the answer of a task goes: its state, its log for readers, and its result for later.

Must stay true: after the task has ended, nothing of what an engine still says changes any of the three;
what is kept is bounded, and a task goes on where its result is too long to be kept whole. Who ends a
task, and what it ends as, is not decided here.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from contracts.errors import UpstreamFault
from contracts.events import Delta, Event, Finish, Usage, UsageReport
from contracts.tasks import ENDED, TaskState
from gateway.answers import Fold, Identity
from gateway.attempt import Upstream
from gateway.entry import Entry
from gateway.progress import Progress
from gateway.tasks.log import TaskLog
from gateway.tasks.state import TaskStep, step


class TaskSink:
    """An AnswerSink. `on_entered` and `on_dispatched` are called as it happens; `on_change` whenever
    there is something new to read. None of them may raise."""

    keeps_back = False
    """Readers see every token at once, so nothing may start over after the first one."""
    patience_s: float | None = None

    def __init__(
        self,
        identity: Identity,
        log: TaskLog,
        *,
        max_result_bytes: int,
        clock: Callable[[], float],
        on_entered: Callable[[Entry], None],
        on_dispatched: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self.log = log
        self.state: TaskState = "queued"
        self.entry: Entry | None = None
        """Its newest place in a queue; its slot may have been given since."""
        self.usage: Usage | None = None
        self.pieces = 0
        """Pieces of content so far; about as many as tokens."""
        self.finish_reason: str | None = None
        self.first_token_s: float | None = None
        self.last_token_s: float | None = None
        self.truncated = False
        self._identity = identity
        self._max_result_bytes = max_result_bytes
        self._clock = clock
        self._on_entered = on_entered
        self._on_dispatched = on_dispatched
        self._on_change = on_change
        self._attempt: Upstream | None = None
        self._fold = self._new_fold(identity.model)

    def step(self, what: TaskStep) -> bool:
        """Take a step; whether it counts."""
        state = step(self.state, what)
        if state is not None:
            self.state = state
        return state is not None

    def result(self) -> dict[str, Any] | None:
        """OpenAI's object, as far as it has come; None before any content."""
        if not self.pieces and self.finish_reason is None:
            return None
        told: dict[str, Any] = msgspec.json.decode(self._fold.body())
        return told

    def stop_engine(self) -> None:
        """Whoever still works for it need not go on. Its place in the pool is free on return."""
        if self._attempt is not None:
            self._attempt.cancel()

    # -- AnswerSink ---------------------------------------------------------------------

    def entered(self, entry: Entry) -> None:
        self.entry = entry
        if self.step("offered"):
            self._on_entered(entry)

    def attach(self, attempt: Upstream, model: str) -> None:
        if self.state in ENDED:
            attempt.cancel()
            return
        self._attempt = attempt
        if not self.pieces:  # one that goes on with a broken stream goes on with its result
            self._fold = self._new_fold(model)
        self.step("dispatched")
        self._on_dispatched()

    async def open(self, progress: Progress) -> None:
        """Readers came by themselves; there is nobody to tell."""

    async def waiting(self, progress: Progress) -> None:
        """Never called: a task is patient."""

    def events(self, events: list[Event]) -> None:
        if self.state in ENDED:
            return
        for event in events:
            match event:
                case Delta():
                    self._delta(event)
                case Finish():
                    self.finish_reason = event.reason
                case UsageReport():
                    self.usage = event.usage
                case _:
                    pass
            self._keep(event)
        self._on_change()

    def _delta(self, event: Delta) -> None:
        """Readers get text; reasoning and tool calls are in the result."""
        self.step("token")
        self.pieces += 1
        self.last_token_s = self._clock()
        if self.first_token_s is None:
            self.first_token_s = self.last_token_s
        if text := event.content or event.refusal:
            self.log.append(text)

    def _keep(self, event: Event) -> None:
        if self.truncated and isinstance(event, Delta):
            return
        try:
            self._fold.add([event])
        except UpstreamFault:  # too long, or a part of it cannot be read
            self.truncated = True

    def _new_fold(self, model: str) -> Fold:
        identity = msgspec.structs.replace(self._identity, model=model)
        return Fold(identity, max_bytes=self._max_result_bytes)
