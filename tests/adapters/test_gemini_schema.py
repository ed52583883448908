"""A schema as far as Gemini knows JSON Schema: checked against the fake's keywords, which are not ours."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from adapters.gemini_schema import MAX_DEPTH, translated
from contracts.errors import InvalidField
from tests.fakes.gemini_rules import KEYWORDS

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def told(schema: Any) -> tuple[Any, list[str]]:
    """The schema, and what is not enforced."""
    words: list[str] = []
    raw = msgspec.Raw(msgspec.json.encode(schema))
    return translated(raw, "s", words.append), words


PLAIN = {
    "type": "object",
    "title": "Plain",
    "properties": {
        "city": {"type": "string", "description": "where", "enum": ["a", "b"]},
        "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 7},
        "tags": {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1},
        "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Point"}]},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
        "enum": {"type": "string"},
    },
    "$defs": {"Point": {"type": "object", "properties": {}, "additionalProperties": False}},
    "required": ["city"],
    "additionalProperties": {"type": "string"},
}


def test_what_gemini_takes_is_passed_on_as_it_was() -> None:
    assert told(PLAIN) == (PLAIN, [])


@pytest.mark.parametrize(
    ("schema", "same"),
    [
        ({"const": "a"}, {"enum": ["a"]}),
        ({"const": 1}, {"enum": [1]}),
        ({"enum": ["a", None]}, {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"exclusiveMaximum": 5, "type": "integer"}, {"type": "integer", "maximum": 4}),
        (
            {"type": "integer", "minimum": 3, "exclusiveMinimum": 0},
            {"type": "integer", "minimum": 3},
        ),
        (
            {"type": "integer", "maximum": 3, "exclusiveMaximum": 3},
            {"type": "integer", "maximum": 2},
        ),
        ({"exclusiveMinimum": False}, {}),
        (
            {"type": "array", "items": [{"const": 1}]},
            {"type": "array", "prefixItems": [{"enum": [1]}]},
        ),
        (
            {"definitions": {"P": {"const": 1}}, "items": {"$ref": "#/definitions/P"}},
            {"$defs": {"P": {"enum": [1]}}, "items": {"$ref": "#/$defs/P"}},
        ),
        (
            {"$ref": "#/$defs/P", "description": "where"},
            {"anyOf": [{"$ref": "#/$defs/P"}], "description": "where"},
        ),
        ({"allOf": [{"$ref": "#/$defs/P"}]}, {"$ref": "#/$defs/P"}),
        (
            {
                "type": "object",
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {}}, "required": ["a", "b"], "title": "x"},
                ],
            },
            {
                "type": "object",
                "title": "x",
                "properties": {"a": {"enum": [1]}, "b": {}},
                "required": ["a", "b"],
            },
        ),
        ({"properties": 5}, {"properties": 5}),
        ({"$schema": "x", "$comment": "y", "readOnly": True, "x-mine": 1}, {}),
        (True, True),
    ],
)
def test_the_same_is_said_in_another_way(schema: Any, same: Any) -> None:
    whole, words = told({"items": schema})
    assert (whole, words) == ({"items": same}, [])


def test_notes_go_into_the_description() -> None:
    assert told({"type": "integer", "description": "how many", "default": 5, "examples": [1]}) == (
        {"type": "integer", "description": "how many (default: 5) (examples: [1])"},
        [],
    )


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("pattern", "^a$"),
        ("minLength", 1),
        ("multipleOf", 5),
        ("uniqueItems", True),
        ("exclusiveMinimum", 0.5),
        ("not", {"type": "null"}),
        ("if", {}),
        ("patternProperties", {}),
        ("dependentRequired", {}),
        ("const", True),
        ("const", None),
        ("enum", ["a", False]),
        ("allOf", [{"minimum": 1}, {"minimum": 2}]),
        ("allOf", [{"properties": {"b": {}}}, {"properties": {"b": {"type": "string"}}}]),
    ],
)
def test_what_gemini_cannot_enforce_is_told_to_the_model_and_by_name(word: str, value: Any) -> None:
    schema, words = told({"properties": {"a": {word: value}}})
    assert words == [word]
    hint = msgspec.json.encode(value).decode()
    assert schema == {"properties": {"a": {"description": f"({word}: {hint})"}}}


def test_what_is_no_schema_is_wrong() -> None:
    deep: Any = {}
    for _ in range(MAX_DEPTH + 1):
        deep = {"items": deep}
    for wrong in ([], "x", deep):
        with pytest.raises(InvalidField) as raised:
            told(wrong)
        assert raised.value.param == "s"


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["a", "b"]))
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["integer", "string", "null", ["integer", "null"]]),
        "const": VALUES,
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "minimum": st.integers(-2, 2),
        "exclusiveMinimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
    },
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"items": inner}),
        st.fixed_dictionaries(
            {"allOf": st.lists(LEAVES, min_size=1, max_size=2), "type": st.just("integer")}
        ),
        st.fixed_dictionaries(
            {"properties": st.dictionaries(st.sampled_from("ab"), inner)},
            optional={"required": st.lists(st.sampled_from("ab"), unique=True)},
        ),
    ),
    max_leaves=5,
)
INSTANCES = st.one_of(
    VALUES, st.lists(VALUES, max_size=2), st.dictionaries(st.sampled_from("ab"), VALUES)
)


def words_in(schema: Any) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), schema.get("items")]
    return set(schema).union(*map(words_in, inner))


@given(schema=SCHEMAS, instance=INSTANCES)
def test_it_is_never_stricter_and_the_same_where_nothing_is_left_to_hints(
    schema: Any, instance: Any
) -> None:
    ours, words = told(schema)
    assert words_in(ours) <= KEYWORDS
    wanted = Draft202012Validator(schema).is_valid(instance)
    got = Draft202012Validator(ours).is_valid(instance)
    assert got or not wanted
    if not words and not isinstance(instance, float):
        assert got == wanted
