"""What can still be used of a document that has problems, so that one mistake does not hide others.

Must stay true: a place in the result is the same place in the text. So a list is cut at its first
unreadable entry rather than closed up, and a part that must be there is stood in for by an empty
one. The result is for looking for more mistakes only: `Reading.intact` says what of it is the
author's own, and nothing may ever be carried out with it.
"""

from typing import Any, TypeVar

from msgspec import inspect

from contracts.problems import Path
from contracts.yaml_document import Reading, members

T = TypeVar("T")

_HOLE = object()


def salvage(reading: Reading[T], kind: type[T]) -> T | None:
    """A `kind` from what could be read. None where that is nothing at all. Never raises.

    A text that is missing or wrong is "", a word of a closed set any of them, a mapping of fields
    one with its defaults; any other part that cannot be done without takes what encloses it along.
    """
    if reading.value is not None:
        return reading.value
    part = _part(reading, reading.tree, inspect.type_info(kind), ())
    return part if isinstance(part, kind) else None


def _part(reading: Reading[Any], tree: Any, kind: inspect.Type, path: Path) -> Any:
    if tree is None and not reading.intact(path):
        return _HOLE
    for member in members(kind):
        match tree, member:
            case dict(), inspect.StructType():
                return _struct(reading, tree, member, path)
            case dict(), inspect.DictType():
                parts = {
                    key: _part(reading, value, member.value_type, (*path, key))
                    for key, value in tree.items()
                }
                return {key: part for key, part in parts.items() if part is not _HOLE}
            case list(), inspect.ListType():
                return _list(reading, tree, member.item_type, path)
    return tree


def _struct(
    reading: Reading[Any], tree: dict[str, Any], kind: inspect.StructType, path: Path
) -> Any:
    found = {}
    for field in kind.fields:
        part, place = _HOLE, (*path, field.encode_name)
        if field.encode_name in tree:
            part = _part(reading, tree[field.encode_name], field.type, place)
        if part is _HOLE and field.required:
            part = _stand_in(reading, field.type, place)
            if part is _HOLE:
                return _HOLE
        if part is not _HOLE:
            found[field.name] = part
    return kind.cls(**found)


def _list(reading: Reading[Any], tree: list[Any], kind: inspect.Type, path: Path) -> list[Any]:
    items: list[Any] = []
    for index, item in enumerate(tree):
        part = _part(reading, item, kind, (*path, index))
        if part is _HOLE and any(map(_has_fields, members(kind))):
            part = _stand_in(reading, kind, (*path, index))
        if part is _HOLE:
            break
        items.append(part)
    return items


def _stand_in(reading: Reading[Any], kind: inspect.Type, path: Path) -> Any:
    for member in members(kind):
        match member:
            case inspect.StrType():
                return ""
            case inspect.LiteralType():
                return member.values[0]
            case inspect.StructType() if _has_fields(member):
                return _struct(reading, {}, member, path)
    return _HOLE


def _has_fields(kind: inspect.Type) -> bool:
    """Not so for a Struct that reads its own spelling with `parse`: it arrives whole or not."""
    return isinstance(kind, inspect.StructType) and not hasattr(kind.cls, "parse")
