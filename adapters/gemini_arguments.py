"""A call's arguments, told in pieces by path: put together to the JSON object that they are. Pure.

`{"jsonPath": "$.a[0].b", "stringValue": "x", "willContinue": true}`: texts at the same path grow, lists grow
by their next index, any other value stands. What must stay true: the object is bounded, and a piece that has no
place is an error, since arguments with a hole are another call. Source: `PartialArg` of the `google-genai`
SDK, RFC 9535 for the paths, a recorded stream.
"""

import re
from itertools import pairwise
from typing import Any

import msgspec

from adapters.gemini_wire import PartialArg

MAX_ARGUMENTS_CHARS = 4 * 1024 * 1024
MAX_DEPTH = 64
_STEP = re.compile(
    r"\.([^.\[\]'\"]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]"
)
_ESCAPED = re.compile(r"\\(.)")
_encode = msgspec.json.Encoder().encode
Step = str | int


class NoSuchPlace(ValueError):
    """A piece that fits nowhere, or one too many."""


class Arguments:
    """`add` each piece; `encoded` at the end."""

    def __init__(self) -> None:
        self._value: dict[str, Any] = {}
        self._chars = 0

    def add(self, piece: PartialArg) -> None:
        """Raises NoSuchPlace."""
        self._chars += len(piece.json_path) + len(piece.string_value or "")
        if self._chars > MAX_ARGUMENTS_CHARS:
            raise NoSuchPlace("the arguments of a call are too long")
        steps = _steps(piece.json_path)
        last = steps[-1]
        node: Any = self._value
        for step, after in pairwise(steps):
            node = _child(node, step, {} if isinstance(after, str) else [])
        before = _child(node, last, None)
        value = _value(piece)
        if isinstance(before, str) and isinstance(value, str):
            value = before + value
        elif isinstance(before, dict | list):
            raise NoSuchPlace(f"there is more than one value at {piece.json_path}")
        node[last] = value

    def encoded(self) -> str:
        return _encode(self._value).decode()


def _steps(path: str) -> list[Step]:
    if not path.startswith("$"):
        raise NoSuchPlace(f"no path: {path}")
    steps: list[Step] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or len(steps) >= MAX_DEPTH:
            raise NoSuchPlace(f"no path: {path}")
        name, index, *quoted = found.groups()
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(
                name or _ESCAPED.sub(r"\1", next((q for q in quoted if q is not None), ""))
            )
        at = found.end()
    if not steps or isinstance(steps[0], int):
        raise NoSuchPlace(f"no path to an argument: {path}")
    return steps


def _child(node: Any, step: Step, otherwise: Any) -> Any:
    """What is at `step` of `node`; `otherwise` is put there where nothing is."""
    if isinstance(node, dict) and isinstance(step, str):
        return node.setdefault(step, otherwise)
    if isinstance(node, list) and isinstance(step, int) and step <= len(node):
        if step == len(node):
            node.append(otherwise)
        return node[step]
    raise NoSuchPlace(f"nothing can stand at {step!r}")


def _value(piece: PartialArg) -> Any:
    if piece.string_value is not None:
        return piece.string_value
    if piece.bool_value is not None:
        return piece.bool_value
    number = bytes(piece.number_value)
    return None if number == b"null" else msgspec.json.decode(number)
