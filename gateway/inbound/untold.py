"""What of a request in another language cannot be said as a chat: left out with a word, or refused by name.

A member shapes an answer, and goes into the header `x-setpoint-dropped`; without some the answer would be to
another question, and those are refused. Never silently.
"""

import re
from collections.abc import Collection, Mapping

from msgspec import Raw

from contracts.errors import UnsupportedParameter

MAX_UNTOLD = 32
"""A client can name as many members as it likes, and a header has a bound."""
OTHERS = "..."
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names that can stand in a header as they are."""


def given(members: Mapping[str, Raw]) -> dict[str, Raw]:
    """Members that say something: `null` is as good as nothing."""
    return {name: value for name, value in members.items() if bytes(value) != b"null"}


def refuse(name: str, why: str) -> UnsupportedParameter:
    """The error to raise."""
    return UnsupportedParameter(f"{name} is not supported here: {why}", param=name)


def untold(members: Mapping[str, Raw], told: Collection[str]) -> tuple[str, ...]:
    """Names of what was given beyond what is `told`; OTHERS for those that a header cannot hold."""
    names = [name for name in members if name not in told]
    plain = [name for name in names if _PLAIN_NAME.fullmatch(name)][:MAX_UNTOLD]
    return (*plain, OTHERS) if len(plain) < len(names) else tuple(plain)
