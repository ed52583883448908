"""A decision in one line: safe in a header, whatever the names in it, and readable aloud."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.decision import Decision, RuleOutcome, RuleVerdict, Shaping
from contracts.inference import Constraints

pytestmark = pytest.mark.req("INT-7", "INT-3")
SHOWN = {"applied", "dry_run", "held_by_floor", "spared"}


def decision(*rules: RuleOutcome, intent: str = "interactive") -> Decision:
    return Decision(
        intent=intent,
        shaping=Shaping(model="m"),
        models=("m",),
        constraints=Constraints(),
        rules=rules,
    )


def test_the_line_says_what_was_done_and_why_not() -> None:
    line = decision(
        RuleOutcome(
            rule="long context",
            verdict="applied",
            changes=("model a -> b", "max_tokens 4096 -> 512"),
        ),
        RuleOutcome(rule="nightly", verdict="no_match", why="request.key is web"),
        RuleOutcome(rule="tomorrow", verdict="dry_run", changes=("priority 0 -> 5",)),
        RuleOutcome(rule="cheap", verdict="held_by_floor", why="tiny is below 0.8"),
    ).summary
    assert line == (
        "intent=interactive; long context: model a -> b, max_tokens 4096 -> 512; "
        "tomorrow (dry_run): priority 0 -> 5; cheap (held_by_floor): tiny is below 0.8"
    )


def test_a_request_without_an_intent_says_so() -> None:
    assert decision(intent="").summary == "intent=-"


OUTCOMES = st.builds(
    RuleOutcome,
    rule=st.text(),
    verdict=st.sampled_from(get_args(RuleVerdict)),
    why=st.text(),
    changes=st.lists(st.text(), max_size=3).map(tuple),
)


@pytest.mark.req("SEC-5")
@given(intent=st.text(), rules=st.lists(OUTCOMES, max_size=40))
def test_the_line_is_always_a_header_value(intent: str, rules: list[RuleOutcome]) -> None:
    line = decision(*rules, intent=intent).summary
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= 512


@given(rules=st.lists(OUTCOMES, max_size=6))
def test_rules_that_changed_nothing_take_no_room(rules: list[RuleOutcome]) -> None:
    silent = [rule for rule in rules if rule.verdict not in SHOWN]
    assert decision(*silent).summary == "intent=interactive"
    shown = [rule for rule in rules if rule.verdict in SHOWN]
    assert decision(*rules).summary == decision(*shown).summary


def test_a_line_that_is_too_long_shows_that_it_was_cut() -> None:
    at_bound = decision(intent="x" * (512 - len("intent="))).summary
    assert at_bound.endswith("x")
    cut = decision(intent="x" * (513 - len("intent="))).summary
    assert (len(cut), cut[-4:]) == (512, "x...")


def test_what_follows_from_it_is_no_part_of_it() -> None:
    told, fresh = decision(intent="a"), decision(intent="a")
    assert told.summary == "intent=a"
    assert told.summary is told.summary
    assert told == fresh
    assert msgspec.json.encode(told) == msgspec.json.encode(fresh)
    assert msgspec.structs.replace(told, intent="b").summary == "intent=b"
