"""All interleavings of submit, dispatch, token, cancel, expire, fail, end, disconnect and reconnect, without IO.

The asynchronous counterpart, over the real desk, is test_desk_interleavings.
"""

from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from hypothesis.strategies import integers, sampled_from

from contracts.events import Delta, End
from contracts.tasks import ENDED, EndEvent, ErrorEvent
from gateway.answers import Identity
from gateway.attempt import Attempt
from gateway.tasks.log import Ended, Gap, LogEvent, Started, TaskLog, Token
from gateway.tasks.sink import TaskSink
from gateway.tasks.state import TaskStep

pytestmark = pytest.mark.req("RUN-4", "ADM-3", "ADM-4")
MAX_EVENTS, MAX_BYTES, MAX_RESULT = 3, 240, 400
IDENTITY = Identity(operation="chat", id="c", created_s=0, model="m")


class FakeAttempt:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Reading:
    """What one reader holds: the id of its last event, and what a test remembers of it."""

    def __init__(self, cursor: int) -> None:
        self.first = cursor
        self.cursor = cursor
        self.seen: list[LogEvent] = []


class OneTask(RuleBasedStateMachine):
    """One task, any number of readers, and a client that cancels. Each rule is one step of the event
    loop: within it nothing else happens, as in the gateway."""

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.log = TaskLog(max_events=MAX_EVENTS, max_bytes=MAX_BYTES)
        self.sink = TaskSink(
            IDENTITY,
            self.log,
            max_result_bytes=MAX_RESULT,
            clock=lambda: 0.0,
            on_entered=lambda entry: None,
            on_dispatched=lambda: None,
            on_change=self._changed,
        )
        self.attempt: FakeAttempt | None = None
        self.tokens: list[str] = []
        """All that the engine said while anybody was to hear it."""
        self.cancel_answered = False
        self.terminals: set[Ended] = set()
        self.ends = 0
        self.everybody: list[Reading] = []

    def _changed(self) -> None:
        self.changes += 1

    def _conclude(self, what: TaskStep) -> None:
        """As `Task.conclude`."""
        if not self.sink.step(what):
            return
        self.ends += 1
        if what == "cancelled":
            self.log.cut()
        if what == "succeeded":
            self.log.close(EndEvent(tokens_out=len(self.tokens), decode_time_ms=0))
        else:
            self.log.close(ErrorEvent(code=what, retriable=False, retry_after_ms=None, message=""))

    # -- what happens to the task -------------------------------------------------------

    @rule()
    def dispatch(self) -> None:
        attempt = FakeAttempt()
        before = self.sink.state
        self.sink.attach(cast(Attempt, cast(Any, attempt)), "m")
        if before in ENDED:
            assert attempt.cancelled, "nobody wants it any more"
        else:
            self.attempt = attempt

    @rule(size=integers(0, 90), letter=sampled_from("abcé"))
    def token(self, size: int, letter: str) -> None:
        over = self.sink.state in ENDED
        self.sink.events([Delta(content=letter * size)])
        if not over and size:
            self.tokens.append(letter * size)

    @rule()
    def reasoning(self) -> None:
        self.sink.events([Delta(reasoning="hm")])

    @rule()
    def end(self) -> None:
        self.sink.events([End()])
        self._conclude("succeeded")

    @rule()
    def fail(self) -> None:
        self._conclude("failed")

    @rule()
    def expire(self) -> None:
        self._conclude("expired")

    @rule()
    def cancel(self) -> None:
        self._conclude("cancelled")
        self.sink.stop_engine()
        self.cancel_answered = True
        assert self.sink.state in ENDED
        assert self.attempt is None or self.attempt.cancelled

    # -- readers ------------------------------------------------------------------------

    @rule(target=readers)
    def connect(self) -> Reading:
        self.everybody.append(Reading(0))
        return self.everybody[-1]

    @rule(target=readers, before=readers)
    def reconnect(self, before: Reading) -> Reading:
        """With the Last-Event-ID of an earlier connection, which may still be there."""
        self.everybody.append(Reading(before.cursor))
        return self.everybody[-1]

    @rule(reader=readers)
    def disconnect(self, reader: Reading) -> None:
        """It reads no more, and the task does not mind."""
        state = self.sink.state
        self.everybody = [r for r in self.everybody if r is not reader]
        assert self.sink.state == state

    @rule(reader=readers)
    def read(self, reader: Reading) -> None:
        if not any(reader is r for r in self.everybody):
            return
        event = self.log.next(reader.cursor)
        if event is None:
            return
        assert event.id > reader.cursor
        assert not (self.sink.state == "cancelled" and isinstance(event, Token | Gap))
        assert not any(isinstance(e, Ended) for e in reader.seen), "nothing follows the end"
        if isinstance(event, Ended):
            self.terminals.add(event)
        reader.cursor = event.id
        reader.seen.append(event)

    # -- what is always true ------------------------------------------------------------

    @invariant()
    def it_ends_once(self) -> None:
        assert self.ends == (self.sink.state in ENDED)
        assert self.ends == self.log.over
        assert len(self.terminals) <= 1, "all readers are told the same end"

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.log.bytes <= MAX_BYTES
        assert len(self.log._texts) <= MAX_EVENTS
        assert self.sink._fold._bytes <= MAX_RESULT + 300, "one token over, that was not kept"

    @invariant()
    def a_reader_has_all_of_it_once(self) -> None:
        for reader in self.everybody:
            told = _told(reader.seen, self.tokens)
            first = max(0, reader.first - 1)
            assert told == list(range(first, first + len(told)))

    @precondition(lambda self: self.sink.state in ENDED)
    @invariant()
    def whoever_reads_on_comes_to_the_end(self) -> None:
        for start in {0, *(reader.cursor for reader in self.everybody)}:
            if start >= self.log.last_id:
                continue
            cursor, seen = start, list[LogEvent]()
            while (event := self.log.next(cursor)) is not None:
                cursor = event.id
                seen.append(event)
            assert isinstance(seen[-1], Ended)
            assert sum(isinstance(event, Ended) for event in seen) == 1
            told = _told(seen, self.tokens)
            if self.sink.state == "cancelled":
                assert told == []
            else:
                assert told == list(range(max(0, start - 1), len(self.tokens)))


def _told(events: list[LogEvent], tokens: list[str]) -> list[int]:
    """The numbers of the tokens that a reader got or was told to be gone."""
    told: list[int] = []
    for event in events:
        match event:
            case Token():
                assert event.text == tokens[event.index]
                told.append(event.index)
            case Gap():
                told += range(event.first, event.last + 1)
            case Started() | Ended():
                pass
    return told


TestOneTask = OneTask.TestCase
TestOneTask.settings = settings(stateful_step_count=40)
