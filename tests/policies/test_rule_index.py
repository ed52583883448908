"""The index of first tests against each of them by itself."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.inference import RequestFacts
from policies import rule_index
from policies.effects import Shape
from policies.first_test import FirstTest
from policies.policy_set import NO_INTENT
from policies.quality import Choice
from policies.references import Reference, header, request_field
from policies.request_value import request_value
from policies.rule_index import RuleIndex

pytestmark = pytest.mark.req("INT-2")

SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
NUMBERS, WORDS = st.integers(0, 4), st.sampled_from(["", "a", "b", "ab", "é"])
FIELDS: dict[Reference, Any] = {
    request_field("prompt_tokens"): NUMBERS,
    request_field("max_tokens"): NUMBERS,
    request_field("model"): WORDS,
    header("model"): WORDS,
    header("x-team"): WORDS,
}
FACTS = st.builds(
    RequestFacts,
    operation=st.just("chat"),
    model=WORDS,
    prompt_tokens=NUMBERS,
    max_tokens=st.none() | NUMBERS,
    headers=st.dictionaries(st.sampled_from(["model", "x-team"]), WORDS),
)


def shaped(facts: RequestFacts) -> Shape:
    """As it came."""
    choice = Choice(facts.model)
    return Shape(
        intent=NO_INTENT, priority=0, choices=(choice,), models=(), max_tokens=facts.max_tokens
    )


@st.composite
def first_tests(draw: st.DrawFn) -> FirstTest:
    reference = draw(st.sampled_from(list(FIELDS)))
    literal = draw(FIELDS[reference].filter(lambda value: value != "é"))
    return FirstTest(reference=reference, comparison=draw(SIGNS), literal=literal)


@given(firsts=st.lists(st.none() | first_tests(), max_size=12), facts=FACTS)
def test_it_leaves_out_the_rules_whose_first_test_fails_and_no_other(
    firsts: list[FirstTest | None], facts: RequestFacts
) -> None:
    shape = shaped(facts)

    def value_of(reference: Reference) -> Any:
        if reference.of == "header":
            return facts.headers.get(reference.name, "")
        return request_value(reference.name, facts, shape)

    left = [
        number
        for number, first in enumerate(firsts)
        if first is None or not first.fails(value_of(first.reference))
    ]
    assert list(RuleIndex(firsts).candidates(facts, shape)) == left


def test_a_field_is_looked_at_once_however_many_rules_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def note(name: str, facts: RequestFacts, shape: Shape) -> Any:
        asked.append(name)
        return request_value(name, facts, shape)

    monkeypatch.setattr(rule_index, "request_value", note)
    key = request_field("key")
    firsts = [FirstTest(reference=key, comparison="==", literal=f"k{n}") for n in range(100)]
    facts = RequestFacts(operation="chat", model="m", key="k7")
    assert list(RuleIndex(firsts).candidates(facts, shaped(facts))) == [7]
    assert asked == ["key"]
