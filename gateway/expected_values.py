"""What may stand where a client wrote a value that is none of the possible ones. Pure.

msgspec says where, and what was wrong there; the remedy is in the type that was read.
"""

import re
from typing import Any

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def expected_values(kind: Any, body: bytes, path: str) -> list[str]:
    """Values that a `kind` may have at `path` (`messages[0].content[1].type`) of `body`, as far as its other
    members leave a choice; none where it is no choice of words."""
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return []
    nodes = _alternatives(inspect.type_info(kind), said)
    values: list[Any] = []
    for index, name in _STEP.findall(path):
        values = [] if index else _tags(nodes, name)
        try:
            said = said[int(index)] if index else said.get(name)
        except (LookupError, AttributeError, TypeError):
            said = None
        inner = [n.item_type for n in nodes if isinstance(n, inspect.ListType)] if index else []
        for node in () if index else nodes:
            if isinstance(node, inspect.StructType):
                inner += [field.type for field in node.fields if field.encode_name == name]
        nodes = [leaf for node in inner for leaf in _alternatives(node, said)]
    for node in nodes:
        values += node.values if isinstance(node, inspect.LiteralType) else ()
    return list(dict.fromkeys(str(value) for value in values if value is not None))


def _tags(nodes: list[inspect.Type], name: str) -> list[Any]:
    tagged = (node for node in nodes if isinstance(node, inspect.StructType))
    return [node.tag for node in tagged if node.tag_field == name]


def _alternatives(node: inspect.Type, said: Any) -> list[inspect.Type]:
    """What a value may be; of structs that are told apart by a tag the one that it names, if it names one."""
    if isinstance(node, inspect.Metadata):
        return _alternatives(node.type, said)
    if not isinstance(node, inspect.UnionType):
        return [node]
    leaves = [leaf for inner in node.types for leaf in _alternatives(inner, said)]
    if isinstance(said, dict):
        named = [leaf for leaf in leaves if _is_named(leaf, said)]
        return named or leaves
    return leaves


def _is_named(node: inspect.Type, said: dict[str, Any]) -> bool:
    return (
        isinstance(node, inspect.StructType)
        and node.tag_field is not None
        and said.get(node.tag_field) == node.tag
    )
