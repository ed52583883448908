"""JSON Schema as far as Gemini knows it: what it has no word for is said otherwise, or told by name. Pure.

Gemini refuses a request whose schema has a keyword that it does not know. Three ways out, in this order: another
spelling with the same meaning (`const`, `definitions`, an exclusive bound of whole numbers, `allOf` of objects);
annotations, which constrain nothing, go into the description or away; and a constraint goes into the description,
where the model reads it but nothing enforces it: those are told by name. What must stay true: whatever Gemini
takes is passed on as it was; the result is never stricter than what was asked. Source: the keywords that the
`google-genai` SDK lists at `response_json_schema`, refusals told in public issues.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from adapters.chat_request import read
from contracts.errors import InvalidField

MAX_DEPTH = 64
"""Schemas inside of schemas. Gemini itself refuses far fewer."""
Schema = dict[str, Any]

_TAKEN = frozenset(
    {
        "$id",
        "$anchor",
        "$ref",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "required",
        "propertyOrdering",
    }
)
"""Keywords that are passed on as they are. Those with schemas inside are below."""
_ONE = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"prefixItems", "anyOf", "oneOf"})
_MAPS = frozenset({"properties", "$defs"})
_SPELLED: dict[str, str] = {"definitions": "$defs"}
_WITHOUT_MEANING = frozenset(
    {
        "$schema",
        "$comment",
        "$vocabulary",
        "deprecated",
        "readOnly",
        "writeOnly",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
    }
)
_NOTES = frozenset({"default", "example", "examples"})
"""Annotations that a model reads with profit."""
_CONSTRAINTS = frozenset(
    {
        "pattern",
        "minLength",
        "maxLength",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "const",
        "enum",
        "allOf",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "minContains",
        "maxContains",
        "patternProperties",
        "propertyNames",
        "additionalItems",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedItems",
        "unevaluatedProperties",
        "$dynamicRef",
        "$recursiveRef",
    }
)
"""What a schema may demand and Gemini cannot. Any other keyword is none, and demands nothing."""
_FIRST = frozenset({"type", "minimum", "maximum", "anyOf"})
"""Keywords on whose values the spelling of others depends."""
_TITLES = ("title", "description")
_encode = msgspec.json.Encoder().encode


def translated(raw: Raw, name: str, unenforced: Callable[[str], None]) -> Schema:
    """The schema at member `name`. `unenforced` is called with each keyword that Gemini will not enforce, and
    may raise. Raises InvalidField where it is no schema."""
    given = read(raw, dict[str, Any], name)
    told: Schema = _Translation(name, unenforced).schema(given, 0)
    return told


class _Translation:
    def __init__(self, name: str, unenforced: Callable[[str], None]) -> None:
        self._name = name
        self._unenforced = unenforced

    def schema(self, given: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise InvalidField(f"{self._name}: nested too deeply", param=self._name)
        if not isinstance(given, dict):
            return given  # true and false are schemas too
        given = _flattened(given)
        told: Schema = {}
        hints: list[str] = []
        for word in sorted(given, key=_FIRST.__contains__, reverse=True):
            self._keyword(_SPELLED.get(word, word), given[word], told, hints, depth)
        if "$ref" in told and any(not word.startswith("$") for word in told):
            self._apart(told, hints)
        if hints:
            said = told.get("description")
            told["description"] = " ".join([said, *hints] if isinstance(said, str) else hints)
        return told

    def _keyword(self, word: str, value: Any, told: Schema, hints: list[str], depth: int) -> None:
        if word == "$ref" and isinstance(value, str):
            told[word] = value.replace("#/definitions/", "#/$defs/")
        elif word == "enum" and isinstance(value, list):
            self._enum(word, value, value, told, hints)
        elif word == "const":
            self._enum(word, value, [value], told, hints)
        elif word in ("exclusiveMinimum", "exclusiveMaximum"):
            self._bound(word, value, told, hints)
        elif word in _TAKEN:
            told[word] = value
        elif word == "items" and isinstance(value, list):
            told["prefixItems"] = [self.schema(each, depth + 1) for each in value]
        elif word in _ONE:
            told[word] = self.schema(value, depth + 1)
        elif word in _LISTS and isinstance(value, list):
            inner = [self.schema(each, depth + 1) for each in value]
            told[word] = inner
        elif word in _MAPS and isinstance(value, dict):
            named = {n: self.schema(each, depth + 1) for n, each in value.items()}
            told[word] = {**told.get(word, {}), **named}
        elif word in _LISTS or word in _MAPS:
            told[word] = value  # it is no schema, as Gemini will say
        elif word in _NOTES:
            hints.append(_hint(word, value))
        elif word in _CONSTRAINTS:
            self._hinted(word, value, hints)

    def _hinted(self, word: str, value: Any, hints: list[str]) -> None:
        self._unenforced(word)
        hints.append(_hint(word, value))

    def _enum(
        self, word: str, given: Any, values: list[Any], told: Schema, hints: list[str]
    ) -> None:
        """Texts and numbers only; null is a type of its own."""
        known = [v for v in values if isinstance(v, str | int | float) and not isinstance(v, bool)]
        if not known or len(known) + (None in values) != len(values) or "anyOf" in told:
            self._hinted(word, given, hints)
        elif None in values:
            told["anyOf"] = [{"enum": known}, {"type": "null"}]
        else:
            told["enum"] = known

    def _bound(self, word: str, value: Any, told: Schema, hints: list[str]) -> None:
        """Of whole numbers the next one is the bound."""
        inclusive, step = ("minimum", 1) if word == "exclusiveMinimum" else ("maximum", -1)
        whole = isinstance(value, int) and not isinstance(value, bool)
        other = told.get(inclusive, value + step if whole else None)
        if whole and told.get("type") == "integer" and isinstance(other, int | float):
            told[inclusive] = max(value + 1, other) if step > 0 else min(value - 1, other)
        elif value is not False:  # in draft 4 it was a switch
            self._hinted(word, value, hints)

    def _apart(self, told: Schema, hints: list[str]) -> None:
        """A reference stands alone, or with other words that start with `$`."""
        target = told.pop("$ref")
        if "anyOf" in told:
            self._hinted("$ref", target, hints)
        else:
            told["anyOf"] = [{"$ref": target}]


def _flattened(given: Schema) -> Schema:
    """Without `allOf`, where its parts can stand side by side."""
    parts = given.get("allOf")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return given
    whole: Schema = {word: value for word, value in given.items() if word != "allOf"}
    for part in parts:
        for word, value in part.items():
            before = whole.get(word, value)
            if word == "properties" and isinstance(value, dict) and isinstance(before, dict):
                clash = [n for n in value if n in before and before[n] != value[n]]
                whole[word] = {**before, **value}
            elif word == "required" and isinstance(value, list) and isinstance(before, list):
                clash = []
                whole[word] = [*before, *(name for name in value if name not in before)]
            else:
                clash = [] if word in _TITLES or before == value else [word]
                whole[word] = before
            if clash:
                return given  # two demands of one kind: neither may win
    return whole


def _hint(word: str, value: Any) -> str:
    return f"({word}: {_encode(value).decode()})"
