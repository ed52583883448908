"""A request that is being answered on its client's connection, as the registry shows and cancels it."""

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from contracts.errors import Cancelled
from contracts.tasks import Kind, TaskState, TaskSummary, TaskView
from gateway.entry import Entry
from gateway.replies import FoldReply, StreamReply
from gateway.request_record import RequestRecord
from gateway.tasks import views
from gateway.tasks.places import PlaceOf
from gateway.tasks.views import Clocks, Course, Subject


class LiveRequest:
    """Once it is cancelled, its `handler`, the task that answers, has CancelledError raised in what it awaits, and
    `cancelled` says why."""

    def __init__(
        self,
        record: RequestRecord,
        reply: StreamReply | FoldReply,
        clock: Callable[[], float],
        handler: asyncio.Task[Any],
    ) -> None:
        self.id = record.infer.request_id
        self.cancelled: Cancelled | None = None
        self._record = record
        self._reply = reply
        self._clock = clock
        self._handler = handler

    @cached_property
    def created_s(self) -> float:
        """Unix time: found when somebody looks first, and the same from then on."""
        return time.time() - (self._clock() - self._record.progress.accepted_s)

    @property
    def kind(self) -> Kind:
        return self._record.infer.operation

    @property
    def caller(self) -> str:
        return self._record.infer.facts.key

    @property
    def state(self) -> TaskState:
        progress = self._record.progress
        if self.cancelled is not None:
            return "cancelled"
        if self._reply.over:
            return "failed" if self._reply.fault else "succeeded"
        if progress.dispatched_s is None:
            return "queued"
        return "streaming" if self._record.recorder.flight.tokens else "starting"

    def cancel(self) -> TaskState:
        """Nothing more of the answer goes out; its client is told why. An answer that is complete stays
        what it is."""
        if self.cancelled is None and not self._reply.over:
            self.cancelled = Cancelled("the request was cancelled by its id")
            self._reply.cut()
            self._handler.cancel()
        return self.state

    def summary(self, place_of: PlaceOf = Entry.place) -> TaskSummary:
        return views.summary(self._subject(), self._course(place_of), self._clocks())

    def view(self) -> TaskView:
        return views.view(self._subject(), self._course(), self._clocks(), error=self.cancelled)

    def _course(self, place_of: PlaceOf = Entry.place) -> Course:
        progress, flight, entry = (
            self._record.progress,
            self._record.recorder.flight,
            self._reply.entry,
        )
        return Course(
            state=self.state,
            place=place_of(entry) if entry is not None and self.state == "queued" else None,
            pieces=flight.tokens,
            usage=progress.usage,
            first_token_s=flight.first_token_s if flight.tokens else None,
            last_token_s=flight.last_s if flight.tokens else None,
            finish_reason=progress.finish_reasons[0] if progress.finish_reasons else None,
        )

    def _subject(self) -> Subject:
        facts = self._record.infer.facts
        return Subject(
            id=self.id,
            kind=self.kind,
            facts=facts,
            decision=self._record.decision,
            progress=self._record.progress,
            created_s=self.created_s,
            prompt_tokens=facts.prompt_tokens,
            prompt_tokens_estimated=True,
        )

    def _clocks(self) -> Clocks:
        return Clocks(now_s=self._clock(), unix_s=time.time())
