"""What one request and its answer leave for their record, where bodies are recorded: held until a row is made.

Must stay true: what all requests hold together is bounded by one `Room`, and each gives back what it took,
once. A piece of an answer costs a few string writes; nothing is encoded here. Log probabilities are not kept.
"""

from collections.abc import Iterable
from typing import Literal

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
Missing = Literal["too_large", "no_room", "unreadable"]
"""Why a request is not in its record: it was more than `REQUEST_BYTES`, too many others were waiting, or it
cannot be read again to look for secrets in it (JSON that is nested too deep, a number beyond all numbers)."""


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


# Texts are kept as UTF-8: as a str, one wide character would make all others as wide.


class _Call:
    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments = bytearray()


class _Choice:
    def __init__(self) -> None:
        self.content, self.reasoning, self.refusal = bytearray(), bytearray(), bytearray()
        self.calls: dict[int, _Call] = {}
        self.reason: str | None = None

    def add(self, event: Delta) -> None:
        self.content += _utf8(event.content)
        if event.reasoning:
            self.reasoning += _utf8(event.reasoning)
        if event.refusal:
            self.refusal += _utf8(event.refusal)
        for piece in event.tool_calls:
            call = self.calls.get(piece.index)
            if call is None:
                call = self.calls[piece.index] = _Call()
            call.id = piece.id or call.id
            call.name = piece.name or call.name
            call.arguments += _utf8(piece.arguments)

    def told(self, index: int) -> AnsweredChoice:
        return AnsweredChoice(
            index=index,
            content=_text(self.content),
            reasoning=_text(self.reasoning),
            refusal=_text(self.refusal),
            tool_calls=tuple(
                AnsweredCall(id=call.id, name=call.name, arguments=_text(call.arguments))
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
        self._bytes = 0
        self._truncated = False

    @property
    def size(self) -> int:
        """About how many bytes it is so far."""
        return self._bytes

    def begin(self) -> None:
        """Another attempt answers: what was said before counts no more."""
        self.free()
        self._truncated = False

    def add(self, events: Iterable[Event]) -> None:
        """Keep what was said, as far as there is room. Never raises."""
        for event in events:
            if isinstance(event, Delta):
                if self._truncated or not self._fits(event):
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
        self._room.give(self._bytes)
        self._chars = self._bytes = 0
        self._choices = {}

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _fits(self, event: Delta) -> bool:
        chars, size = _sizes(event)
        if self._chars + chars > self._most or not self._room.take(size):
            return False
        self._chars += chars
        self._bytes += size
        return True


class Kept:
    """One request and its answer. `free` it when its record is made, or there will be none."""

    def __init__(self, infer: InferRequest, room: Room) -> None:
        self._room = room
        self.members: Members | None = infer.members
        """As everything behind the edge speaks; None: too large, or there was no room."""
        self.native = infer.native
        """The same as the client wrote it, where it speaks another language. By engine."""
        self.missing: Missing | None = None
        self._bytes = _member_bytes(infer.members) + sum(map(_member_bytes, infer.native.values()))
        if self._bytes > REQUEST_BYTES:
            self.missing = "too_large"
        elif not room.take(self._bytes):
            self.missing = "no_room"
        if self.missing is not None:
            self.members, self.native, self._bytes = None, {}, 0
        self.answer = KeptAnswer(room)

    @property
    def size(self) -> int:
        """About how many bytes a row will be made of."""
        return self._bytes + self.answer.size

    def free(self) -> None:
        self._room.give(self._bytes)
        self._bytes = 0
        self.members, self.native = None, {}
        self.answer.free()


def _sizes(event: Delta) -> tuple[int, int]:
    """In characters, and in bytes of UTF-8."""
    chars, size = len(event.content), _utf8_bytes(event.content)
    if event.reasoning or event.refusal or event.tool_calls:
        for text in (event.reasoning, event.refusal, *(c.arguments for c in event.tool_calls)):
            chars += len(text)
            size += _utf8_bytes(text)
        chars += _CALL_CHARS * len(event.tool_calls)
        size += _CALL_CHARS * len(event.tool_calls)
    return chars, size


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(_utf8(text))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(utf8: bytearray) -> str:
    return utf8.decode("utf-8", "surrogatepass")


def _member_bytes(members: Members) -> int:
    return sum(memoryview(value).nbytes for value in members.values())
