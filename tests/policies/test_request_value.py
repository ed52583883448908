"""Every field that conditions may name has a value for every request, and what rules have changed counts."""

from typing import Any

import pytest

from contracts.inference import RequestFacts
from contracts.policy import Intent
from policies.effects import Shape
from policies.quality import Choice
from policies.request_value import request_value
from policies.vocabulary import REQUEST_FIELDS

pytestmark = pytest.mark.req("INT-2")
TYPES = {"str": str, "int": int, "bool": bool, "map": dict}
FACTS = RequestFacts(operation="chat", model="asked", max_tokens=9, key="web", n=3)


def shaped(**fields: Any) -> Shape:
    begun: dict[str, Any] = {
        "intent": Intent(name=""),
        "priority": 0,
        "choices": (Choice("asked"),),
        "models": (),
        "max_tokens": None,
    }
    return Shape(**{**begun, **fields})


@pytest.mark.parametrize("name", REQUEST_FIELDS)
def test_every_field_has_a_value_of_its_kind(name: str) -> None:
    plain = RequestFacts(operation="chat", model="m")
    for facts in (plain, FACTS):
        assert type(request_value(name, facts, shaped())) is TYPES[REQUEST_FIELDS[name]]


def test_what_rules_have_changed_comes_before_what_was_asked_for() -> None:
    shape = shaped(intent=Intent(name="batch"), priority=-1, models=("chosen",), max_tokens=7)
    told = {name: request_value(name, FACTS, shape) for name in REQUEST_FIELDS}
    assert (told["model"], told["max_tokens"]) == ("chosen", 7)
    assert (told["intent"], told["priority"]) == ("batch", -1)
    assert (told["key"], told["n"], told["user"]) == ("web", 3, "")


def test_a_number_beyond_what_cel_can_hold_is_the_largest() -> None:
    facts = RequestFacts(operation="chat", model="m", prompt_tokens=2**70)
    assert request_value("prompt_tokens", facts, shaped()) == 2**63 - 1
    assert request_value("max_tokens", facts, shaped(max_tokens=2**70)) == 2**63 - 1
