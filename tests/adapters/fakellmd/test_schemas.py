"""Sampled values pass the validator that users would check them with."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fakellmd.schemas import sample

pytestmark = pytest.mark.req("INT-9")

leaves = st.one_of(
    st.builds(lambda: {"type": "boolean"}),
    st.builds(lambda: {"type": "null"}),
    st.builds(lambda: {"const": {"a": [1]}}),
    st.builds(lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
              st.integers(-99, 99), st.integers(0, 9)),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-9, 9)),
    st.builds(lambda high: {"type": "integer", "maximum": high, "multipleOf": 3},
              st.integers(-9, 9)),
    st.builds(lambda low, size: {"type": "string", "minLength": low, "maxLength": low + size},
              st.integers(0, 60), st.integers(0, 9)),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers(), min_size=1)),
    st.builds(lambda: {"type": ["string", "null"]}),
)  # fmt: skip


def grown(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    members = st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    return st.one_of(
        st.builds(lambda m: {"type": "object", "properties": m, "required": sorted(m)}, members),
        st.builds(lambda m: {"properties": m, "type": "object", "additionalProperties": False},
                  members),
        st.builds(lambda i, n: {"type": "array", "items": i, "minItems": n}, inner,
                  st.integers(0, 4)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    )  # fmt: skip


@settings(max_examples=50)
@given(schema=st.recursive(leaves, grown, max_leaves=8), seed=st.integers(0, 2**64 - 1))
def test_a_sample_is_valid_for_its_schema(schema: dict[str, Any], seed: int) -> None:
    value = sample(schema, seed)
    jsonschema.validate(value, schema)
    assert sample(schema, seed) == value


def test_references_are_followed() -> None:
    schema = {
        "$defs": {"a/b": {"type": "integer", "minimum": 7}},
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/a~1b"}, "y": {"allOf": [{"$ref": "#/$defs/a~1b"}]}},
    }
    value = sample(schema, 1)
    jsonschema.validate(value, schema)
    assert value["x"] >= 7


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    node: dict[str, Any] = {"$defs": {"node": {"type": "object", "required": ["next"]}}}
    node["$ref"] = "#/$defs/node"
    either = [{"$ref": "#/$defs/node"}, {"type": "null"}]
    node["$defs"]["node"]["properties"] = {"next": {"anyOf": either}}
    jsonschema.validate(sample(node, 5), node)


def test_no_schema_can_make_it_work_for_long() -> None:
    names = [f"m{i}" for i in range(50)]
    bush = {"type": "object", "properties": {n: {"$ref": "#"} for n in names}, "required": names}
    assert isinstance(sample(bush, 1), dict)
    nested = {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}}
    assert len(sample(nested, 1)) <= 2000


@given(
    schema=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "items", "enum", "anyOf", "allOf", "$ref", "properties", "required",
                 "minItems", "maxLength", "minimum", "exclusiveMaximum", "multipleOf"]
            ),
            inner | st.sampled_from(["object", "array", "string", "integer", "number", "#"]),
            max_size=5,
        ),
    )
)  # fmt: skip
def test_nonsense_never_crashes_it(schema: object) -> None:
    sample(schema, 3)
