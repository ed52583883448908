"""Stop sequences, carried out here: for engines that do not know them, or that leave their text in the answer.

What must stay true: the text that goes on ends before the first sequence that is complete, in whatever pieces
it was made; no more of it is held back than could still become one. Sans-IO.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from adapters.chat_request import Members, stop_of
from adapters.dialect import AttemptContext, Decoder
from contracts.errors import InvalidField
from contracts.events import Delta, Document, End, Event, Fault, Finish
from contracts.inference import InferRequest

MAX_STOPS = 32
"""Each of them is looked for at every token."""


def stops_of(members: Mapping[str, msgspec.Raw]) -> list[str]:
    """What an answer to a request of these members is to end at. Raises InvalidField."""
    stop = members.get("stop")
    stops = stop_of(Members({"stop": stop}, {})) if stop is not None else []
    if len(stops) > MAX_STOPS:
        raise InvalidField(f"stop: at most {MAX_STOPS} sequences, got {len(stops)}", param="stop")
    return [text for text in stops if text]


class StopText:
    """Text in pieces, up to the first stop sequence. `stopped` once that has come."""

    __slots__ = ("_held", "_stops", "met", "stopped")

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        self.met: str | None = None
        """The one that has come."""

    def push(self, text: str) -> str:
        """What of the text so far is certain to go on."""
        if self.stopped:
            return ""
        text = self._held + text
        # The one that is complete first, as an engine sees it that looks at every character.
        found = [(at + len(s), at, s) for s in self._stops if (at := text.find(s)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            _, at, self.met = min(found)
            return text[:at]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What was held back and became no stop sequence."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` with which `stop` begins, all of it excepted."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class StoppingDecoder:
    """A `Decoder` whose answer ends before the first stop sequence, as for a request of one choice.

    `engine_stops`: the engine knows the sequences too, so its finish and its usage follow at once and are
    waited for. Otherwise the answer is over here, and whoever reads on is done with the engine.
    """

    def __init__(self, inner: Decoder, stops: Sequence[str], *, engine_stops: bool) -> None:
        self._inner = inner
        self._text = StopText(stops)
        self._engine_stops = engine_stops
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        return [] if self._over else self._passed(self._inner.feed(data))

    def close(self) -> list[Event]:
        return [] if self._over else self._passed(self._inner.close())

    def _passed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if self._over:
                break
            match event:
                case Delta():
                    self._delta(event, out)
                case Finish() if self._text.stopped:
                    out.append(self._stop(event.choice))
                case Finish() | End() | Fault() | Document():
                    self._release(out)
                    out.append(event)
                case _:
                    out.append(event)
        return out

    def _delta(self, event: Delta, out: list[Event]) -> None:
        if self._text.stopped:
            return
        if event.reasoning or event.refusal or event.tool_calls or event.extra:
            self._release(out)
        if event.content:
            event.content = self._text.push(event.content)
        if _says(event):
            out.append(event)
        if self._text.stopped and not self._engine_stops:
            self._over = True
            out += [self._stop(event.choice), End()]

    def _stop(self, choice: int) -> Finish:
        return Finish(reason="stop", choice=choice, stop_sequence=self._text.met)

    def _release(self, out: list[Event]) -> None:
        rest = self._text.rest()
        if rest:
            out.append(Delta(content=rest))


def stopping(
    inner: Decoder, infer: InferRequest, attempt: AttemptContext, *, engine_stops: bool
) -> Decoder:
    """`inner` for an answer that ends where this attempt's request says."""
    stops = stops_of({**infer.members, **attempt.overrides})
    return StoppingDecoder(inner, stops, engine_stops=engine_stops) if stops else inner


def _says(event: Delta) -> bool:
    values = msgspec.structs.asdict(event).items()
    return any(value for name, value in values if name not in ("choice", "pieces"))
