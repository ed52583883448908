"""A client's JSON object with a few members replaced; every other value keeps its own bytes.

The members come from decoding the body to `dict[str, msgspec.Raw]`, so numbers keep their
spelling, strings their escapes and objects their order. A name that occurs twice is sent once,
with its last value: what the gateway judged is what the backend gets.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

Value = msgspec.Raw | str | int | list[Any] | dict[str, Any]
"""Of a member: as it is spelled already, or as it is to be."""
encode = msgspec.json.Encoder().encode
"""A body of members."""


def compose(members: Mapping[str, msgspec.Raw], replace: Mapping[str, Value]) -> bytes:
    """`members` with `replace` set: in place where the member exists, else at the end."""
    return encode({**members, **replace})


def capped(
    members: Mapping[str, msgspec.Raw], cap: int, default_name: str, names: Iterable[str]
) -> dict[str, int]:
    """The token limits to set so that none of `names`, which all set one, is above `cap`.

    A client that named a lower limit keeps it; one that named none gets `default_name`. What is no
    positive number is no limit (llama.cpp takes -1 for "without end"), so it becomes the cap.
    """
    changes: dict[str, int] = {}
    named = False
    for name in names:
        raw = members.get(name)
        if raw is None or bytes(raw) == b"null":
            continue
        named = True
        if not 0 < _tokens(raw) <= cap:
            changes[name] = cap
    return changes if named else {default_name: cap}


def _tokens(raw: msgspec.Raw) -> int:
    try:
        return msgspec.json.decode(raw, type=int)
    except msgspec.MsgspecError:
        return 0
