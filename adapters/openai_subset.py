"""Engines that speak a part of OpenAI's language and say nothing of the rest: they ignore it, or fail at it.

What they are known to read travels on in its own bytes; what asks for nothing is left out; whatever else is
refused or dropped by its name. A dialect says in `takes` what is read, and in `fit` what is written otherwise
there. Sans-IO.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from msgspec import Raw

from adapters.chat_messages import refuse_part, refuse_what_none_translates
from adapters.chat_request import Members, Message, messages_of
from adapters.dialect import AttemptContext, WireRequest
from adapters.openai import OpenAIDialect
from adapters.request_members import ASKS_NOTHING, OUR_OWN
from adapters.unsupported import Cannot
from contracts.errors import UnsupportedParameter
from contracts.inference import InferRequest, Operation

LABELS = frozenset({"user", "safety_identifier", "metadata"})
"""Members that say who asks, and ask no engine to do anything."""
_ASKED: dict[Operation, str] = {"chat": "messages", "completion": "prompt", "embedding": "input"}


class OpenAISubsetDialect(OpenAIDialect):
    takes: ClassVar[Mapping[Operation, frozenset[str]]] = {}
    """By operation, the members that this engine reads; operations that are not here are refused."""

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        taken = self.takes.get(infer.operation)
        if taken is None:
            raise not_served(self.engine, infer.operation)
        cannot = Cannot(self.engine, attempt.unsupported)
        if infer.facts.n > 1:
            cannot.refuse("n", "it gives one answer to a request")
        given = {**infer.members, **attempt.overrides}
        # `null` is not there for OpenAI; elsewhere it is a value of the wrong type.
        members = {n: v for n, v in given.items() if bytes(v) != b"null" and n != "n"}
        self.fit(members, infer, attempt, cannot)
        unread = {n: v for n, v in members.items() if n not in taken and n not in OUR_OWN}
        for name in Members(unread, ASKS_NOTHING).left():
            cannot.parameter(name)
        kept = {n: v for n, v in members.items() if n not in unread}
        wire = super().request(
            msgspec.structs.replace(infer, members=kept),
            msgspec.structs.replace(attempt, overrides={}),
        )
        return msgspec.structs.replace(wire, dropped=cannot.dropped)

    def fit(
        self, members: dict[str, Raw], infer: InferRequest, attempt: AttemptContext, cannot: Cannot
    ) -> None:
        """Change `members` to what the engine understands. What it reads and cannot do must go."""

    def limit_name(self, operation: Operation) -> str:
        return "max_tokens"


def not_served(engine: str, operation: Operation) -> UnsupportedParameter:
    """An operation that an engine does not have, named by what its requests consist of."""
    asked = _ASKED[operation]
    return UnsupportedParameter(f"{asked} is not supported by the engine {engine}", param=asked)


def checked_messages(members: Mapping[str, Raw], cannot: Cannot, *, images: bool) -> list[Message]:
    """The conversation, read to be judged: its bytes travel on. Refuses parts that are neither text nor,
    where the engine sees `images`, those; and what it would pass over. Raises InvalidField."""
    messages = messages_of(Members(members, {}))
    allowed = ("text", "refusal", "image_url") if images else ("text", "refusal")
    for number, message in enumerate(messages):
        refuse_what_none_translates(message, f"messages[{number}]", cannot)
        for place, part in message.placed_parts(f"messages[{number}]"):
            if part.type not in allowed:
                refuse_part(part, place, cannot)
    return messages
