"""Beside an answer's way to its client: everything is passed on first, and then kept for the record.

Must stay true: to the executor it is the client's own sink, and to that sink it is the executor.
"""

from contracts.events import Event
from gateway.attempt import Upstream
from gateway.entry import Entry
from gateway.progress import Progress
from gateway.records.kept import KeptAnswer
from gateway.sinks import AnswerSink


class KeepingSink:
    """An AnswerSink in front of another one."""

    def __init__(self, sink: AnswerSink, answer: KeptAnswer) -> None:
        self._sink = sink
        self._answer = answer
        self.keeps_back = sink.keeps_back

    @property
    def patience_s(self) -> float | None:
        return self._sink.patience_s

    def attach(self, attempt: Upstream, model: str) -> None:
        self._answer.begin()
        self._sink.attach(attempt, model)

    def entered(self, entry: Entry) -> None:
        self._sink.entered(entry)

    async def open(self, progress: Progress) -> None:
        await self._sink.open(progress)

    async def waiting(self, progress: Progress) -> None:
        await self._sink.waiting(progress)

    def events(self, events: list[Event]) -> None:
        self._sink.events(events)
        self._answer.add(events)
