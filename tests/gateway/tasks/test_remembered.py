"""A task that has ended, as long as it is known."""

import msgspec
import pytest

from contracts.errors import ErrorBody
from contracts.tasks import EndEvent, ErrorEvent, TaskView
from gateway.tasks.log import Ended, Gap, LogEvent, Started, TaskLog, Token
from gateway.tasks.readers import Readers
from gateway.tasks.remembered import Remembered
from gateway.tasks.store import EndedTask
from tests.fakes.task_views import VIEW

pytestmark = pytest.mark.req("RUN-4")


def stored(view: TaskView) -> Remembered:
    task = EndedTask(
        task_id=view.id,
        caller=view.key,
        idempotency_key="k",
        body_digest="",
        state=view.state,
        view=msgspec.json.encode(view),
    )
    return Remembered.of_store(task, max_readers=1)


def events(task: Remembered, after: int = 0) -> list[LogEvent]:
    found: list[LogEvent] = []
    while (event := task.log.next(after)) is not None:
        found.append(event)
        after = event.id
    return found


def test_it_is_what_it_was() -> None:
    log = TaskLog(max_events=9, max_bytes=999)
    log.append("a")
    log.close(EndEvent(tokens_out=1, decode_time_ms=0))
    task = Remembered(msgspec.json.encode(VIEW), log, Readers(1))
    assert (task.id, task.caller, task.state) == ("task_1", "ada", "succeeded")
    assert task.cancel() == "succeeded"
    assert task.view() == VIEW
    assert task.summary().tokens_out == 2
    assert task.created_s == 1769860800.0
    assert task.bytes == len(task.view_json) + log.bytes
    assert events(task)[1] == Token(2, "a")


def test_one_of_the_store_has_its_end_and_a_gap_for_its_tokens() -> None:
    end = EndEvent(tokens_out=2, decode_time_ms=7)
    assert events(stored(VIEW)) == [Started(1), Gap(3, 0, 1), Ended(4, end)]
    assert events(stored(VIEW), after=4) == []


@pytest.mark.parametrize(
    ("error", "retriable"),
    [
        (
            ErrorBody(
                message="no",
                type="t",
                param=None,
                code="queue_full",
                source="gateway",
                retriable=True,
            ),
            True,
        ),
        (ErrorBody(message="no", type="t", param=None, code="cancelled", source="gateway"), False),
        (
            ErrorBody(
                message="no",
                type="t",
                param=None,
                code="upstream_timeout",
                source="engine",
                retry_after_ms=1000,
            ),
            True,
        ),
    ],
)
def test_its_error_says_the_same_as_before(error: ErrorBody, retriable: bool) -> None:
    view = msgspec.structs.replace(VIEW, state="failed", error=error)
    last = events(stored(view))[-1]
    assert isinstance(last, Ended)
    assert last.event == ErrorEvent(
        code=error.code or "",
        retriable=retriable,
        retry_after_ms=error.retry_after_ms,
        message="no",
    )
