"""What of a request in another language cannot be said as a chat: left out with a word, or refused by name.

A member shapes an answer, and goes into the header `x-setpoint-dropped`; without some the answer would be to
another question, and those are refused. Never silently, however deep in the request it stands.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
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


def untold(body: bytes, read: msgspec.Struct) -> list[str]:
    """Names of what `body` says beyond what was `read` of it, each once: `reasoning.summary`; members of lists
    without their number, `tools.defer_loading`."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return [OTHERS]  # a number out of range, deep in what only travels on
    found: dict[str, None] = {}
    _compare(said, read, "", found)
    return list(found)


def fit_for_a_header(names: Sequence[str]) -> tuple[str, ...]:
    """OTHERS at the end stands for those that a header cannot hold."""
    plain = [name for name in names if _PLAIN_NAME.fullmatch(name)][:MAX_UNTOLD]
    return (*plain, OTHERS) if len(plain) < len(names) else tuple(plain)


def _compare(said: Any, read: object, path: str, found: dict[str, None]) -> None:
    """Follows what was read: it is as deep as our own types, whatever a client sends."""
    if isinstance(read, list):
        for entry, inner in zip(said, read, strict=True):
            if isinstance(inner, msgspec.Struct):
                _compare(entry, inner, path, found)
    elif isinstance(read, msgspec.Struct):
        known = _names(type(read))
        for name, value in said.items():
            if name not in known:
                if value is not None:
                    found[f"{path}{name}"] = None
            elif isinstance(value, dict | list):
                _compare(value, getattr(read, name, None), f"{path}{name}.", found)


@cache
def _names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Its members, and the one that tells it from its siblings."""
    told = {field.encode_name for field in msgspec.structs.fields(kind)}
    return frozenset(told | {kind.__struct_config__.tag_field or ""})
