"""A task that has ended: what it was in the end, and the tokens that can still be read. Values only.

What it was asked is let go of: only its answers are kept.
"""

import datetime

import msgspec

from contracts.tasks import (
    EndEvent,
    ErrorEvent,
    StartedEvent,
    TaskState,
    TaskSummary,
    TaskView,
)
from gateway.tasks.log import STARTED_ID, TaskLog, Terminal
from gateway.tasks.places import PlaceOf
from gateway.tasks.readers import Readers
from gateway.tasks.store import EndedTask

_encode = msgspec.json.Encoder().encode
_summary = msgspec.json.Decoder(TaskSummary)
_view = msgspec.json.Decoder(TaskView)


class Remembered:
    """`view` is a `TaskView` as JSON."""

    farewell: ErrorEvent | None = None

    def __init__(
        self, view: bytes, log: TaskLog, readers: Readers, *, idempotency_key: str | None = None
    ) -> None:
        self.view_json = view
        self.log = log
        self.readers = readers
        self.idempotency_key = idempotency_key
        self._summary = _summary.decode(view)
        created = datetime.datetime.fromisoformat(self._summary.created)
        self.created_s = created.timestamp()

    @classmethod
    def of_store(cls, task: EndedTask, *, max_readers: int) -> "Remembered":
        """One that ended in an earlier run of the gateway, or longer ago than memory reaches."""
        view = _view.decode(task.view)
        last_id = view.last_event_id
        tokens = None if last_id is None else max(0, last_id - STARTED_ID - 1)
        log = TaskLog.remembered(tokens, _terminal(view))
        return cls(task.view, log, Readers(max_readers), idempotency_key=task.idempotency_key)

    @property
    def id(self) -> str:
        return self._summary.id

    @property
    def caller(self) -> str:
        return self._summary.key

    @property
    def state(self) -> TaskState:
        return self._summary.state

    @property
    def bytes(self) -> int:
        return len(self.view_json) + self.log.bytes

    def cancel(self) -> TaskState:
        """It is over: nothing is cancelled any more."""
        return self.state

    def summary(self, place_of: PlaceOf | None = None) -> TaskSummary:
        return self._summary

    def view(self) -> TaskView:
        return _view.decode(self.view_json)

    def started_event(self) -> StartedEvent:
        return StartedEvent(queue_position=None, predicted_start_ms=None)


def _terminal(view: TaskView) -> Terminal:
    if view.error is None:
        return EndEvent(tokens_out=view.tokens_out, decode_time_ms=view.decode_time_ms or 0)
    error = view.error
    return ErrorEvent(
        code=error.code or "internal_error",
        # What is wrong with a request does not say it in so many words; what may be repeated says when.
        retriable=error.retry_after_ms is not None if error.retriable is None else error.retriable,
        retry_after_ms=error.retry_after_ms,
        message=error.message,
    )
