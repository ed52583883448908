"""What is kept beside an answer's way to its client."""

from contracts.events import Delta, Event
from gateway.attempt import Upstream
from gateway.entry import Entry
from gateway.progress import Progress
from gateway.records.keeping_sink import KeepingSink
from gateway.records.kept import KeptAnswer, Room


class Sink:
    """A client's."""

    keeps_back = True
    patience_s: float | None = 1.5

    def __init__(self, answer: KeptAnswer) -> None:
        self._answer = answer
        self.seen: list[object] = []

    def attach(self, attempt: Upstream, model: str) -> None:
        self.seen.append(model)

    def entered(self, entry: Entry) -> None:
        self.seen.append(entry)

    async def open(self, progress: Progress) -> None:
        self.seen.append("open")

    async def waiting(self, progress: Progress) -> None:
        self.seen.append("waiting")

    def events(self, events: list[Event]) -> None:
        self.seen += [(event, self._answer.told()) for event in events]


class Attempt:
    """One that is never asked for anything."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None: ...


async def test_everything_reaches_the_client_first() -> None:
    answer = KeptAnswer(Room(100))
    inner = Sink(answer)
    sink = KeepingSink(inner, answer)
    assert (sink.keeps_back, sink.patience_s) == (True, 1.5)
    progress = Progress(accepted_s=0.0)
    sink.attach(Attempt(), "assistant")
    await sink.waiting(progress)
    await sink.open(progress)
    said = Delta(content="Hello")
    sink.events([said])
    assert inner.seen == ["assistant", "waiting", "open", (said, None)]
    told = answer.told()
    assert told is not None
    assert told.choices[0].content == "Hello"


def test_what_an_earlier_attempt_said_is_not_kept() -> None:
    answer = KeptAnswer(Room(100))
    sink = KeepingSink(Sink(answer), answer)
    sink.attach(Attempt(), "assistant")
    sink.events([Delta(content="Hello")])
    sink.attach(Attempt(), "another")
    assert answer.told() is None
