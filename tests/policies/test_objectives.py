"""Objectives as a list: all that was promised, nothing that was not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.policy import Intent, Objectives
from contracts.quantities import Duration, Money, Share
from policies.objectives import LATENCIES, objectives_of

pytestmark = pytest.mark.req("INT-1", "INT-4")

LATENCY_FIELDS = [f"{signal}_p{percent}" for signal in LATENCIES for percent in (50, 95, 99)]


def intent(**promised: object) -> Intent:
    return Intent(name="i", objectives=Objectives(**promised))  # type: ignore[arg-type]  # by name


def test_who_was_promised_nothing_has_no_objectives() -> None:
    assert objectives_of(Intent(name="i")) == ()


@pytest.mark.parametrize("field", LATENCY_FIELDS)
def test_a_latency_may_be_missed_by_what_its_percentile_leaves_out(field: str) -> None:
    (found,) = objectives_of(intent(**{field: Duration(1.5)}))
    signal, percent = field.split("_p")
    assert (found.name, found.signal, found.target) == (field, signal, 1.5)
    assert found.quantile == int(percent) / 100
    assert found.allowed == pytest.approx(1 - int(percent) / 100)


def test_an_error_rate_is_its_own_allowance() -> None:
    (found,) = objectives_of(intent(error_rate=Share(0.01)))
    assert (found.name, found.signal) == ("error_rate", "error_rate")
    assert (found.target, found.allowed, found.quantile) == (0.01, 0.01, None)


def test_an_error_rate_of_nothing_is_a_promise_too() -> None:
    (found,) = objectives_of(intent(error_rate=Share(0.0)))
    assert (found.target, found.allowed) == (0.0, 0.0)


def test_a_cost_per_minute_is_a_rate_and_no_share_of_requests() -> None:
    (found,) = objectives_of(intent(cost_per_minute=Money(2.5)))
    assert (found.name, found.signal, found.target) == ("cost_per_minute", "cost_per_minute", 2.5)
    assert (found.allowed, found.quantile) == (None, None)


def test_a_cost_per_request_may_be_missed_by_one_in_twenty() -> None:
    (found,) = objectives_of(intent(cost_per_request=Money(0.02)))
    assert (found.name, found.target, found.allowed) == ("cost_per_request", 0.02, 0.05)


@given(promised=st.sets(st.sampled_from(LATENCY_FIELDS)), errors=st.booleans(), cost=st.booleans())
def test_every_promise_is_there_once_in_the_order_of_the_schema(
    promised: set[str], errors: bool, cost: bool
) -> None:
    told: dict[str, object] = {field: Duration(1.0) for field in promised}
    if errors:
        told["error_rate"] = Share(0.01)
    if cost:
        told["cost_per_minute"] = Money(1.0)
    names = [objective.name for objective in objectives_of(intent(**told))]
    schema = [*LATENCY_FIELDS, "error_rate", "cost_per_minute"]
    assert names == [name for name in schema if name in told]
