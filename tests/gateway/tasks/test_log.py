"""The numbered events of one task, and what a reader gets of them."""

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers, lists, text

from contracts.tasks import EndEvent, ErrorEvent
from gateway.tasks.log import TOKEN_BYTES, Ended, Gap, LogEvent, Started, TaskLog, Token

pytestmark = pytest.mark.req("RUN-4", "ADM-4")
END = EndEvent(tokens_out=1, decode_time_ms=0)
CANCELLED = ErrorEvent(code="cancelled", retriable=False, retry_after_ms=None, message="no")


def make(*tokens: str, max_events: int = 100, max_bytes: int = 10_000) -> TaskLog:
    log = TaskLog(max_events=max_events, max_bytes=max_bytes)
    for token in tokens:
        log.append(token)
    return log


def read(log: TaskLog, after: int = 0) -> list[LogEvent]:
    events: list[LogEvent] = []
    while (event := log.next(after)) is not None:
        events.append(event)
        after = event.id
    return events


def test_the_whole_of_it_in_order() -> None:
    log = make("a", "b")
    log.close(END)
    assert read(log) == [Started(1), Token(2, "a"), Token(3, "b"), Ended(4, END)]
    assert [event.index for event in read(log) if isinstance(event, Token)] == [0, 1]
    assert log.last_id == 4
    assert log.over


def test_a_reader_that_is_ahead_of_nothing_waits() -> None:
    log = make("a")
    assert log.next(2) is None
    log.append("b")
    assert log.next(2) == Token(3, "b")


def test_what_has_fallen_out_is_told_as_one_gap() -> None:
    log = make("a", "b", "c", "d", max_events=2)
    assert read(log) == [Started(1), Gap(3, 0, 1), Token(4, "c"), Token(5, "d")]
    assert read(log, after=2) == [Gap(3, 1, 1), Token(4, "c"), Token(5, "d")]
    assert read(log, after=3) == [Token(4, "c"), Token(5, "d")]


def test_a_token_larger_than_the_buffer_is_a_gap() -> None:
    log = make("a" * 200, max_bytes=100)
    assert log.bytes == 0
    assert read(log) == [Started(1), Gap(2, 0, 0)]


@pytest.mark.req("ADM-3")
def test_after_a_cut_only_the_end_is_left_for_everybody() -> None:
    log = make("a", "b", "c")
    log.cut()
    log.close(CANCELLED)
    for after in range(1, 5):
        assert read(log, after) == [Ended(5, CANCELLED)]
    assert read(log) == [Started(1), Ended(5, CANCELLED)]
    assert log.bytes == 0


@pytest.mark.req("ADM-3")
def test_after_the_end_nothing_is_added_and_nothing_is_cut() -> None:
    log = make("a")
    log.close(END)
    log.append("late")
    log.close(CANCELLED)
    log.cut()
    assert read(log) == [Started(1), Token(2, "a"), Ended(3, END)]


def test_what_is_held_shows_after_its_release() -> None:
    log = TaskLog(max_events=10, max_bytes=10_000, held=True)
    log.append("a")
    log.close(END)
    assert read(log) == [Started(1)]
    log.release()
    assert read(log) == [Started(1), Token(2, "a"), Ended(3, END)]


def test_one_that_is_only_remembered_has_its_end_at_its_number() -> None:
    assert read(TaskLog.remembered(3, END)) == [Started(1), Gap(4, 0, 2), Ended(5, END)]
    assert read(TaskLog.remembered(0, END)) == [Started(1), Ended(2, END)]
    assert read(TaskLog.remembered(3, END), after=5) == []


def test_an_end_of_which_nobody_knows_the_number_comes_after_all_others() -> None:
    log = TaskLog.remembered(None, CANCELLED)
    (ended,) = read(log, after=1_000_000)
    assert isinstance(ended, Ended)
    assert ended.id == 2**53 - 1
    assert read(log, after=ended.id) == []


@given(lists(text(max_size=20), max_size=30), integers(1, 5), integers(0, 500))
def test_the_buffer_never_passes_its_bounds(
    tokens: list[str], max_events: int, max_bytes: int
) -> None:
    log = TaskLog(max_events=max_events, max_bytes=max_bytes)
    for token in tokens:
        log.append(token)
        assert log.bytes <= max_bytes
        held = [event for event in read(log) if isinstance(event, Token)]
        assert len(held) <= max_events
        assert log.bytes == sum(TOKEN_BYTES + len(event.text.encode()) for event in held)


@given(binary(max_size=30), integers(1, 4), integers(0, 40))
def test_from_wherever_one_takes_up_tokens_and_gaps_are_all_of_them_once(
    tokens: bytes, max_events: int, after: int
) -> None:
    log = make(*(chr(byte) for byte in tokens), max_events=max_events)
    log.close(END)
    events = read(log, after)
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    told: list[int] = []
    for event in events:
        match event:
            case Token():
                assert event.text == chr(tokens[event.index])
                told.append(event.index)
            case Gap():
                told += range(event.first, event.last + 1)
            case _:
                pass
    assert told == list(range(max(0, after - 1), len(tokens)))
    assert after >= log.last_id or isinstance(events[-1], Ended)
