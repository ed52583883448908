"""The index of first tests against each of them by itself."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.first_test import FirstTest
from policies.references import Reference, header, request_field
from policies.rule_index import RuleIndex

pytestmark = pytest.mark.req("INT-2")

SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
NUMBERS, WORDS = st.integers(0, 4), st.sampled_from(["", "a", "b", "ab", "é"])
FIELDS: dict[Reference, Any] = {
    request_field("prompt_tokens"): NUMBERS,
    request_field("max_tokens"): NUMBERS,
    request_field("model"): WORDS,
    header("model"): WORDS,
}


@st.composite
def first_tests(draw: st.DrawFn) -> FirstTest:
    reference = draw(st.sampled_from(list(FIELDS)))
    literal = draw(FIELDS[reference].filter(lambda value: value != "é"))
    return FirstTest(reference=reference, comparison=draw(SIGNS), literal=literal)


@given(
    firsts=st.lists(st.none() | first_tests(), max_size=12),
    values=st.tuples(*(values | st.none() for values in FIELDS.values())),
)
def test_it_leaves_out_the_rules_whose_first_test_fails_and_no_other(
    firsts: list[FirstTest | None], values: tuple[Any, ...]
) -> None:
    value_of = dict(zip(FIELDS, values, strict=True)).__getitem__
    left = [
        number
        for number, first in enumerate(firsts)
        if first is None or not first.fails(value_of(first.reference))
    ]
    assert list(RuleIndex(firsts).candidates(value_of)) == left


def test_a_field_is_looked_at_once_however_many_rules_ask_for_it() -> None:
    asked: list[Reference] = []

    def value_of(reference: Reference) -> str:
        asked.append(reference)
        return "k7"

    key = request_field("key")
    firsts = [FirstTest(reference=key, comparison="==", literal=f"k{n}") for n in range(100)]
    assert list(RuleIndex(firsts).candidates(value_of)) == [7]
    assert asked == [key]
