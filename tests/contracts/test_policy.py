"""Rungs as operators write them, and the objective that one request is held to."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.policy import PLAIN_RUNGS, Objectives, PolicyFile, Rung, repeated_rungs
from contracts.quantities import Duration
from contracts.yaml_document import read

pytestmark = pytest.mark.req("INT-1")


@pytest.mark.req("INT-5")
@pytest.mark.parametrize("name", PLAIN_RUNGS)
def test_a_plain_rung_is_its_name(name: str) -> None:
    assert Rung.parse(name) == Rung.parse({name: True}) == Rung(name)
    assert Rung.parse({name: True, "dry_run": True}) == Rung(name, dry_run=True)


@pytest.mark.req("INT-5")
@pytest.mark.parametrize(
    ("written", "argument"),
    [
        ({"switch_model": "assistant-small"}, "assistant-small"),
        ({"cap_tokens": 1}, 1),
        ({"reduce_batching": 0.7}, 0.7),
        ({"reduce_batching": "70%"}, 0.7),
    ],
)
def test_a_rung_with_an_argument_is_a_mapping_of_one(
    written: dict[str, object], argument: object
) -> None:
    rung = Rung.parse(written)
    assert {rung.action} == set(written)
    assert rung.argument == pytest.approx(argument)
    for dry_run in (True, False):
        tried = Rung.parse({"dry_run": dry_run, **written})
        assert tried == Rung(rung.action, rung.argument, dry_run)


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("shedd", "shed, refuse, {switch_model: MODEL}"),
        ("cap_tokens", "{cap_tokens: N}"),  # its argument is missing
        ({"shed": None}, "expected a rung"),
        ({"shed": False}, "expected a rung"),
        ({"shed": 1}, "expected a rung"),
        ({"shed": True, "refuse": True}, "expected a rung"),
        ({"shed": True, "dry_run": 1}, "dry_run: expected true or false"),
        ({"cap_tokens": 1, "dry_run": "yes"}, "got `str`"),
        ({"dry_run": True}, "expected a rung"),
        ({}, "expected a rung"),
        ({"cap_tokens": 1, "switch_model": "m"}, "expected a rung"),
        ({"cap_tokens": 0}, ">= 1"),
        ({"cap_tokens": True}, "got `bool`"),
        ({"cap_tokens": "256"}, "got `str`"),
        ({"switch_model": ""}, "$.switch_model"),
        ({"switch_model": "two words"}, "$.switch_model"),
        ({"reduce_batching": "101%"}, "at most 100%"),
        ({"reduce_batching": 1}, "more than 0 and less than 1"),
        ({"reduce_batching": "0%"}, "more than 0 and less than 1"),
        ({"reduce_batching": -0.1}, "a share such as 1% or 0.01"),
        (None, "expected a rung"),
        (["shed"], "expected a rung"),
    ],
)
def test_a_wrong_rung_is_refused_with_what_would_be_right(written: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Rung.parse(written)


KEYS = st.text() | st.sampled_from(
    ["switch_model", "cap_tokens", "reduce_batching", "dry_run", *PLAIN_RUNGS]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=5,
)


@given(written=ANYTHING)
def test_anything_is_a_rung_or_a_value_error(written: object) -> None:
    try:
        rung = Rung.parse(written)
    except ValueError:
        return
    plain = rung.argument is None
    assert (rung.action in PLAIN_RUNGS) == plain
    # What was read can be written down again and means the same.
    argument = True if plain else rung.argument
    assert Rung.parse({rung.action: argument, "dry_run": rung.dry_run}) == rung


RUNGS = st.builds(
    Rung, st.sampled_from(["order", "cap_tokens"]), st.none() | st.integers(1, 3), st.booleans()
)


@pytest.mark.req("INT-5")
@given(ladder=st.lists(RUNGS, max_size=8))
def test_a_rung_is_repeated_where_one_below_it_does_the_same(ladder: list[Rung]) -> None:
    steps = [(rung.action, rung.argument) for rung in ladder]
    expected = [(nth, steps.index(step)) for nth, step in enumerate(steps) if step in steps[:nth]]
    assert list(repeated_rungs(ladder)) == expected


@pytest.mark.req("INT-5", "SEC-4")
def test_rungs_and_intents_can_be_tried_without_acting() -> None:
    text = """
intents:
  - name: interactive
    dry_run: true
    ladder: [order, {shed: true}, {refuse: true, dry_run: true}, {cap_tokens: 256, dry_run: true}]
  - name: batch
"""
    reading = read(text, PolicyFile, file="f", env={})
    assert reading.problems == []
    assert reading.value is not None
    interactive, batch = reading.value.intents
    assert (interactive.dry_run, batch.dry_run) == (True, False)
    assert interactive.ladder == [
        Rung("order"),
        Rung("shed"),
        Rung("refuse", dry_run=True),
        Rung("cap_tokens", 256, dry_run=True),
    ]


PERCENTILES = ("p50", "p95", "p99")
GIVEN: dict[str, Any] = {p: st.none() | st.integers(1, 9).map(Duration) for p in PERCENTILES}


@given(ttft=st.fixed_dictionaries(GIVEN), tpot=st.fixed_dictionaries(GIVEN))
def test_a_single_request_is_held_to_the_95th_percentile_if_there_is_one(
    ttft: dict[str, Duration | None], tpot: dict[str, Duration | None]
) -> None:
    """p95, else p99, else p50: a request is not held to the median when a tail was promised."""
    fields: dict[str, Any] = {f"ttft_{p}": v for p, v in ttft.items()} | {
        f"tpot_{p}": v for p, v in tpot.items()
    }
    objectives = Objectives(**fields)
    for held_to, promised in ((objectives.ttft_s, ttft), (objectives.tpot_s, tpot)):
        in_order = [promised[p] for p in ("p95", "p99", "p50") if promised[p] is not None]
        assert held_to == (in_order[0] if in_order else None)
