"""What a model says, in no dialect: fakes put it into their own words, tests know what must arrive."""

import msgspec

from contracts.events import Usage


class Call(msgspec.Struct, frozen=True):
    """A tool call. `arguments` are the pieces of a JSON object in the order they are made."""

    id: str
    name: str
    arguments: tuple[str, ...]

    @property
    def whole(self) -> str:
        return "".join(self.arguments)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. Texts are in pieces, as models make them. `finish` is OpenAI's word."""

    reasoning: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    stop_sequence: str | None = None
    """The stop sequence that ended it."""
    usage: Usage = msgspec.field(
        default_factory=lambda: Usage(prompt_tokens=9, completion_tokens=4)
    )


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An error instead of an answer."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    kind: str = "application/json"
