"""What one request and its answer leave for their record, where bodies are recorded: held until a row is made.

Must stay true: what all requests hold together is bounded by one `Room`, and each gives back what it took,
once. A piece of an answer costs a few string writes; nothing is encoded here. Log probabilities are not kept.
"""

from collections.abc import Iterable
from io import StringIO

import msgspec

from contracts.events import Delta, Event, Finish
from contracts.inference import InferRequest

REQUEST_BYTES = 4 * 1024 * 1024
"""A larger request is recorded without its body."""
ANSWER_CHARS = 1024 * 1024
"""Of a longer answer the beginning is recorded."""
_CALL_CHARS = 200
"""What a tool call counts beside its arguments."""

Members = dict[str, msgspec.Raw]


class AnsweredCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    arguments: str = ""


class AnsweredChoice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    index: int
    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[AnsweredCall, ...] = ()
    finish_reason: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client was answered, as a record has it. `truncated`: only its beginning."""

    choices: tuple[AnsweredChoice, ...]
    truncated: bool = False


class Room:
    """So much may be held by all together."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """False where there is not so much left; then nothing was taken."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size


class _Call:
    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments = StringIO()


class _Choice:
    def __init__(self) -> None:
        self.content, self.reasoning, self.refusal = StringIO(), StringIO(), StringIO()
        self.calls: dict[int, _Call] = {}
        self.reason: str | None = None

    def add(self, event: Delta) -> None:
        self.content.write(event.content)
        if event.reasoning:
            self.reasoning.write(event.reasoning)
        if event.refusal:
            self.refusal.write(event.refusal)
        for piece in event.tool_calls:
            call = self.calls.get(piece.index)
            if call is None:
                call = self.calls[piece.index] = _Call()
            call.id = piece.id or call.id
            call.name = piece.name or call.name
            call.arguments.write(piece.arguments)

    def told(self, index: int) -> AnsweredChoice:
        return AnsweredChoice(
            index=index,
            content=self.content.getvalue(),
            reasoning=self.reasoning.getvalue(),
            refusal=self.refusal.getvalue(),
            tool_calls=tuple(
                AnsweredCall(id=call.id, name=call.name, arguments=call.arguments.getvalue())
                for _, call in sorted(self.calls.items())
            ),
            finish_reason=self.reason,
        )


class KeptAnswer:
    """One answer, while it grows and until it is recorded."""

    def __init__(self, room: Room, *, most: int = ANSWER_CHARS) -> None:
        self._room = room
        self._most = most
        self._choices: dict[int, _Choice] = {}
        self._chars = 0
        self._truncated = False

    @property
    def chars(self) -> int:
        """About how long it is so far."""
        return self._chars

    def begin(self) -> None:
        """Another attempt answers: what was said before counts no more."""
        self.free()
        self._truncated = False

    def add(self, events: Iterable[Event]) -> None:
        """Keep what was said, as far as there is room. Never raises."""
        for event in events:
            if isinstance(event, Delta):
                size = _chars(event)
                if self._truncated or not self._fits(size):
                    self._truncated = True
                    continue
                self._choice(event.choice).add(event)
            elif isinstance(event, Finish):
                self._choice(event.choice).reason = event.reason

    def told(self) -> Answer | None:
        """None where nothing was said."""
        if not self._choices and not self._truncated:
            return None
        choices = tuple(choice.told(index) for index, choice in sorted(self._choices.items()))
        return Answer(choices=choices, truncated=self._truncated)

    def free(self) -> None:
        """Forget all of it. More than once is as good as once."""
        self._room.give(self._chars)
        self._chars = 0
        self._choices = {}

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _fits(self, size: int) -> bool:
        if self._chars + size > self._most or not self._room.take(size):
            return False
        self._chars += size
        return True


class Kept:
    """One request and its answer. `free` it when its record is made, or there will be none."""

    def __init__(self, infer: InferRequest, room: Room) -> None:
        self._room = room
        self.members: Members | None = infer.members
        """As everything behind the edge speaks; None: too large, or there was no room."""
        self.native = infer.native
        """The same as the client wrote it, where it speaks another language. By engine."""
        self._bytes = _member_bytes(infer.members) + sum(map(_member_bytes, infer.native.values()))
        if self._bytes > REQUEST_BYTES or not room.take(self._bytes):
            self.members, self.native, self._bytes = None, {}, 0
        self.answer = KeptAnswer(room)

    @property
    def size(self) -> int:
        """About how many bytes a row will be made of."""
        return self._bytes + self.answer.chars

    def free(self) -> None:
        self._room.give(self._bytes)
        self._bytes = 0
        self.members, self.native = None, {}
        self.answer.free()


def _chars(event: Delta) -> int:
    size = len(event.content) + len(event.reasoning) + len(event.refusal)
    if not event.tool_calls:
        return size
    for call in event.tool_calls:
        size += _CALL_CHARS + len(call.arguments)
    return size


def _member_bytes(members: Members) -> int:
    return sum(memoryview(value).nbytes for value in members.values())
