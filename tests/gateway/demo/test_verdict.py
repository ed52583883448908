"""When a promise is kept, and when the demo has shown what it is for."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.demo.exchange import Exchange
from gateway.demo.measures import Figures
from gateway.demo.record import Record
from gateway.demo.scenario import Promise, Scenario
from gateway.demo.verdict import Verdict, broken, definition, judge

pytestmark = pytest.mark.req("INT-10")
KEPT = Figures(
    offered=100,
    in_time=95,
    refused=5,
    failed=0,
    ttft_p95_s=0.8,
    tpot_p95_s=0.04,
    usd_per_minute=0.75,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ()),
        ({"ttft_p95_s": 0.81}, ("TTFT",)),
        ({"ttft_p95_s": math.inf}, ("TTFT",)),
        ({"tpot_p95_s": 0.041}, ("TPOT",)),
        ({"failed": 1}, ()),
        ({"failed": 2}, ("errors",)),
        ({"usd_per_minute": 0.76}, ("cost",)),
        ({"ttft_p95_s": None, "tpot_p95_s": None}, ()),
        ({"ttft_p95_s": 9.0, "usd_per_minute": 9.0}, ("TTFT", "cost")),
    ],
)
def test_each_line_of_the_promise_is_kept_up_to_its_bound(
    change: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert broken(Promise(), msgspec.structs.replace(KEPT, **change)) == expected


def test_broken_with_the_loop_off_and_kept_with_it_on_is_what_is_to_be_shown(
    verdict: Verdict,
) -> None:
    assert verdict.off.broken == ("TTFT",)
    assert verdict.on.broken == ()
    assert verdict.shown
    assert "broken (TTFT)" in verdict.words


def test_what_is_broken_in_the_spikes_first_seconds_is_not_judged(verdict: Verdict) -> None:
    spared = verdict.on.stretches[1]
    assert spared.broken == ("TTFT",)
    assert not spared.stretch.judged
    assert verdict.on.broken == ()


@pytest.mark.parametrize("at_s", [5.0, 30.0, 50.0])
def test_a_failure_in_any_judged_stretch_breaks_the_promise(
    plan: Scenario, off: Record, on: Record, at_s: float
) -> None:
    next(x for x in on.exchanges if x.arrival.at_s == at_s).fate = "failed"
    verdict = judge(plan, off, on)
    assert "errors" in verdict.on.broken
    assert not verdict.shown
    assert "broken too" in verdict.words


def test_a_promise_that_is_kept_anyhow_shows_nothing(
    plan: Scenario, on: Record, make_answered: Callable[..., Exchange]
) -> None:
    calm = msgspec.structs.replace(
        on, run="loop off", exchanges=tuple(make_answered(float(s)) for s in range(60))
    )
    verdict = judge(plan, calm, on)
    assert not verdict.shown
    assert "nothing to show" in verdict.words


def test_the_definition_tells_every_bound(plan: Scenario) -> None:
    told = definition(plan)
    for bound in ("first 8 s", "800 ms", "40 ms", "1%", "10 s", "0.75 USD"):
        assert bound in told
