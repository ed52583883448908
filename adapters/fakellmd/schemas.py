"""A value that a simple JSON Schema accepts, chosen by a seed.

Understood: `type`, `enum`, `const`, `properties`, `items`, `prefixItems`, length and number bounds,
`anyOf`/`oneOf`/`allOf`, and `$ref` into the same document. Not understood, and ignored: `pattern`,
`format`, `not`, conditionals. Always ends, soon: past a depth optional members are left out, and
past a number of values everything is null, whatever the schema asks for.
"""

import math
from collections.abc import Mapping
from typing import Any

from adapters.fakellmd.draws import mix

Schema = Mapping[str, Any]

_DEEP = 6
_TOO_DEEP = 24
_MOST_VALUES = 2000
_LONGEST_STRING = 10_000
_WORDS = ("steady", "queue", "signal", "amber", "harbour", "cedar", "orbit", "lantern")


def sample(schema: object, seed: int, *, text: str | None = None) -> Any:
    """A JSON value for `schema`. `text` is used for strings that may be as long as they like."""
    return _Sampler(schema, text).value(schema, seed, 0)


class _Sampler:
    """One walk through one schema."""

    def __init__(self, root: object, text: str | None) -> None:
        self._root = root
        self._text = text
        self._left = _MOST_VALUES

    def value(self, schema: object, seed: int, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _TOO_DEEP or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if choices := _list(schema, "enum"):
            return choices[mix(seed, 3) % len(choices)]
        if isinstance(schema.get("$ref"), str):
            return self.value(self._resolve(schema["$ref"]), seed, depth + 1)
        if options := _list(schema, "anyOf") or _list(schema, "oneOf"):
            # Deep down the last one is taken: a recursive schema writes its way out there (null).
            number = -1 if depth > _DEEP else mix(seed, 4) % len(options)
            return self.value(options[number], seed, depth + 1)
        if parts := _list(schema, "allOf"):
            return self._all_of(parts, seed, depth)
        match _type(schema, seed):
            case "object":
                return self._object(schema, seed, depth)
            case "array":
                return self._array(schema, seed, depth)
            case "string":
                return self._string(schema, seed)
            case "integer":
                return _number(schema, seed, whole=True)
            case "number":
                return _number(schema, seed, whole=False)
            case "boolean":
                return mix(seed, 5) % 2 == 0
        return None

    def _all_of(self, parts: list[Any], seed: int, depth: int) -> Any:
        values = [self.value(part, mix(seed, i), depth + 1) for i, part in enumerate(parts)]
        if all(isinstance(value, dict) for value in values):
            return {name: member for value in values for name, member in value.items()}
        return values[0]

    def _object(self, schema: Schema, seed: int, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = [name for name in _list(schema, "required") if isinstance(name, str)]
        wanted = [name for name in properties if depth < _DEEP or name in required]
        wanted += [name for name in required if name not in properties]
        return {
            name: self.value(properties.get(name, {"type": "string"}), mix(seed, i), depth + 1)
            for i, name in enumerate(wanted)
        }

    def _array(self, schema: Schema, seed: int, depth: int) -> list[Any]:
        first = _list(schema, "prefixItems")
        least = _size(schema, "minItems", 0)
        most = _size(schema, "maxItems", max(least, 3))
        natural = 0 if depth >= _DEEP else 1 + mix(seed, 7) % 3
        size = min(max(least, natural), max(most, least), _MOST_VALUES)
        items = schema.get("items", {"type": "string"})
        return [
            self.value(first[i] if i < len(first) else items, mix(seed, i), depth + 1)
            for i in range(size)
        ]

    def _string(self, schema: Schema, seed: int) -> str:
        least = _size(schema, "minLength", 0)
        most = _size(schema, "maxLength", _LONGEST_STRING)
        text = self._text or " ".join(_word(mix(seed, i)) for i in range(1 + seed % 3))
        while len(text) < least and len(text) < _LONGEST_STRING:
            text += " " + _word(mix(seed, len(text)))
        return text[:most]

    def _resolve(self, reference: str) -> object:
        node = self._root
        for part in filter(None, reference.removeprefix("#").split("/")):
            if not isinstance(node, Mapping):
                return None
            node = node.get(part.replace("~1", "/").replace("~0", "~"))
        return node


def _type(schema: Schema, seed: int) -> object:
    if kinds := _list(schema, "type"):
        return kinds[mix(seed, 6) % len(kinds)]
    if "type" in schema:
        return schema["type"]
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _number(schema: Schema, seed: int, *, whole: bool) -> int | float:
    step = _bound(schema, "multipleOf") or (1 if whole else 0.5)
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    if above is not None:
        low = above + step
    if below is not None:
        high = below - step
    if low is None:
        low = 0 if high is None else high - 100 * step
    try:
        first = math.ceil(low / step)
        last = first + 100 if high is None else math.floor(high / step)
    except (OverflowError, ValueError):
        return 0
    value = (first + mix(seed, 8) % (max(last - first, 0) + 1)) * step
    return int(value) if whole else value


def _word(seed: int) -> str:
    return _WORDS[seed % len(_WORDS)]


def _list(schema: Schema, name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _bound(schema: Schema, name: str) -> float | None:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _size(schema: Schema, name: str, default: int) -> int:
    value = schema.get(name)
    return value if isinstance(value, int) and value >= 0 else default
