"""One task that waits or runs: what it was asked, where it stands, who reads it, how it ends.

Must stay true: whatever ends it does so in one synchronous step, after which its log has its last event
and every reader has been woken; whoever comes second changes nothing. Who runs it is the desk's business.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from contracts.errors import Cancelled, Draining, GatewayError
from contracts.tasks import (
    ENDED,
    EndEvent,
    ErrorEvent,
    Kind,
    MetricsEvent,
    StartedEvent,
    TaskState,
    TaskSummary,
    TaskView,
)
from gateway.answers import Identity
from gateway.entry import Entry
from gateway.error_answers import RETRY_AFTER_DEFAULT_S
from gateway.flight_recorder import CLIENT_GONE
from gateway.request_record import RequestRecord
from gateway.tasks import views
from gateway.tasks.log import TaskLog
from gateway.tasks.order import TaskOrder
from gateway.tasks.places import PlaceOf
from gateway.tasks.readers import Readers
from gateway.tasks.sink import TaskSink
from gateway.tasks.state import TaskStep
from gateway.tasks.views import Clocks, Course, Subject
from gateway.token_count import PromptCount


class Task:
    """Build it inside a running event loop. `present` makes an error fit for its client; `on_stands` is
    called when a pool has let it in or lets it wait; `on_dispatched` when an engine is asked first."""

    kind: Kind = "task"

    def __init__(
        self,
        task_id: str,
        order: TaskOrder,
        record: RequestRecord,
        count: PromptCount,
        *,
        identity: Identity,
        log: TaskLog,
        max_result_bytes: int,
        max_readers: int,
        clock: Callable[[], float],
        present: Callable[[GatewayError], GatewayError],
        on_stands: Callable[["Task"], None],
        on_dispatched: Callable[["Task"], None],
    ) -> None:
        self.id = task_id
        self.caller = order.infer.facts.key
        self.idempotency_key = order.idempotency_key
        self.created_s = order.accepted_unix_s
        self.body_bytes = len(order.body)
        self.record = record
        self.count = count
        self.log = log
        self.readers = Readers(max_readers)
        self.error: GatewayError | None = None
        self.farewell: ErrorEvent | None = None
        """What readers are told when it has not ended, and yet leaves this process: it is kept elsewhere."""
        self.runner: asyncio.Task[None] | None = None
        self.stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it waits or runs; holds the error of one that was refused."""
        self.dispatched = False
        """An engine has been asked, once at least."""
        self.unkept: GatewayError | None = None
        """Why it could not be made durable, and so was not accepted."""
        self.settled = asyncio.Event()
        """Set when everything that its end brings with it has been done."""
        self.sink = TaskSink(
            identity,
            log,
            max_result_bytes=max_result_bytes,
            clock=clock,
            on_entered=self._entered,
            on_dispatched=self._was_dispatched,
            on_change=self.readers.wake,
        )
        self._clock = clock
        self._present = present
        self._on_stands = on_stands
        self._on_dispatched = on_dispatched
        self._abandoned = False

    @property
    def state(self) -> TaskState:
        return self.sink.state

    @property
    def stood(self) -> bool:
        """It was let in, or waits: its caller was told its id."""
        return self.stands.done() and not self.stands.cancelled() and not self.stands.exception()

    # -- how it ends --------------------------------------------------------------------

    def cancel(self) -> TaskState:
        """End it now, wherever it is; the state that it is in for ever. No reader has another token."""
        if self.conclude("cancelled", Cancelled("the task was cancelled")):
            self.stop()
        return self.state

    def abandon(self) -> None:
        """Whoever submits it has left before it was told that it was taken."""
        self._abandoned = True
        self.cancel()

    def conclude(self, what: TaskStep, error: GatewayError | None = None) -> bool:
        """Its end, as far as nothing else has ended it. Whether this did."""
        if self.farewell is not None or not self.sink.step(what):
            return False
        progress = self.record.progress
        progress.ended_s = self._clock()
        if error is not None and progress.first_token_s is not None and progress.fault is None:
            progress.fault = error  # as for a stream: what came before it was given, and counts
        if what == "cancelled":
            self.log.cut()
        if error is None:
            course = self.course()
            self.log.close(
                EndEvent(tokens_out=course.tokens_out, decode_time_ms=course.decode_time_ms)
            )
        else:
            self.error = self._present(error)
            self.log.close(error_event(error))
        self.readers.wake()
        return True

    def hand_over(self, error: GatewayError) -> None:
        """It leaves this process as it is: its readers are told to come back."""
        if self.state not in ENDED:
            self.farewell = error_event(self._present(error))
            self.readers.wake()
            self.stop()

    def stop(self) -> None:
        """Its engine need not go on, and neither need whoever runs it."""
        self.sink.stop_engine()
        if self.runner is not None:
            self.runner.cancel()

    def refuse(self, error: GatewayError | None = None) -> None:
        """Nothing will be kept of it: who waits for it to stand is told why."""
        if self.stands.done():
            return
        error = error or self.error
        if self._abandoned or error is None:
            self.stands.cancel()
        else:
            self.stands.set_exception(error)
            self.stands.exception()  # who waited may have left

    def close_record(self) -> None:
        """Log and count it, as a request whose answer had this status."""
        error, record = self.error, self.record
        if self.farewell is not None:
            record.close(503, Draining(self.farewell.message))
        elif self._abandoned:
            record.close(CLIENT_GONE, None)
        else:
            record.close(200 if error is None else error.status, error)

    def release(self) -> None:
        """Its tokens may be read from now on."""
        self.log.release()
        self.readers.wake()

    # -- what is told of it -------------------------------------------------------------

    def course(self, place_of: PlaceOf = Entry.place) -> Course:
        sink, entry = self.sink, self.sink.entry
        return Course(
            state=sink.state,
            place=place_of(entry) if entry is not None and sink.state == "queued" else None,
            pieces=sink.pieces,
            usage=sink.usage,
            first_token_s=sink.first_token_s,
            last_token_s=sink.last_token_s,
            finish_reason=sink.finish_reason,
        )

    def summary(self, place_of: PlaceOf = Entry.place) -> TaskSummary:
        return views.summary(self._subject(), self.course(place_of), self._clocks())

    def view(self) -> TaskView:
        return views.view(
            self._subject(),
            self.course(),
            self._clocks(),
            result=self.sink.result(),
            result_truncated=self.sink.truncated,
            error=self.error,
            last_event_id=self.log.last_id,
        )

    def started_event(self) -> StartedEvent:
        course = self.course()
        return StartedEvent(
            queue_position=course.queue_position, predicted_start_ms=course.predicted_start_ms
        )

    def metrics_event(self, budget: dict[str, Any] | None) -> MetricsEvent:
        course = self.course()
        return MetricsEvent(
            queue_position=course.queue_position,
            tokens_out=course.tokens_out,
            tokens_per_s=course.tokens_per_s,
            budget=budget,
        )

    def _entered(self, entry: Entry) -> None:
        if entry.refused is not None:
            return  # refused at once; another pool may take it
        if not self.stands.done():
            self.stands.set_result(None)
            self._on_stands(self)

    def _was_dispatched(self) -> None:
        if not self.dispatched:
            self.dispatched = True
            self._on_dispatched(self)

    def _subject(self) -> Subject:
        return Subject(
            id=self.id,
            kind=self.kind,
            facts=self.record.infer.facts,
            decision=self.record.decision,
            progress=self.record.progress,
            created_s=self.created_s,
            prompt_tokens=self.count.tokens,
            prompt_tokens_estimated=self.count.estimated,
        )

    def _clocks(self) -> Clocks:
        return Clocks(now_s=self._clock(), unix_s=time.time())


def error_event(error: GatewayError) -> ErrorEvent:
    """An error as the last event of a task's stream; it must be fit for a client. What may be repeated is
    said to be worth it after a while, as it is in the answers to requests."""
    if error.retriable and error.retry_after_s is None:
        error.retry_after_s = RETRY_AFTER_DEFAULT_S
    delay_s = error.told_retry_after_s
    return ErrorEvent(
        code=error.code,
        retriable=error.retriable,
        retry_after_ms=None if delay_s is None else round(delay_s * 1000),
        message=error.message,
    )
