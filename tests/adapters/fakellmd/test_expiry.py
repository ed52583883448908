"""How long a request may wait, in front of pods and in front of none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.expiry import Expiry
from adapters.fakellmd.ordering import Ask, Item

pytestmark = pytest.mark.req("INT-9")


def expiry(**epp: Any) -> Expiry:
    return Expiry(EppSettings(**epp), started_s=0.0)


def ask(ttl_s: float | None = None) -> Ask:
    return Ask(call=1, priority=0, flow="f", body_bytes=1, received_s=0.0, ttl_s=ttl_s)


def item(enqueued_s: float, ttl_s: float) -> Item:
    return Item(ask(), enqueued_s, 1, ttl_s)


@pytest.mark.parametrize(
    ("operator_s", "client_s", "ttl_s"),
    [(60.0, None, 60.0), (60.0, 2.0, 2.0), (2.0, 60.0, 2.0), (0.0, 2.0, 2.0), (0.0, None, 0.0)],
)
def test_a_client_shortens_what_the_operator_allows(
    operator_s: float, client_s: float | None, ttl_s: float
) -> None:
    assert expiry(default_request_ttl_s=operator_s).ttl_s(ask(client_s)) == ttl_s


def test_a_request_is_over_when_its_time_is_up_and_never_without_one() -> None:
    rule = expiry()
    assert not rule.is_over(item(1.0, 2.0), 2.999)
    assert rule.is_over(item(1.0, 2.0), 3.0)
    assert not rule.is_over(item(1.0, 0.0), 1e9)


def test_each_regime_has_its_budget_and_begins_it_afresh() -> None:
    rule = expiry(default_request_ttl_s=2.0, no_endpoint_request_ttl_s=10.0)
    waiter = item(0.0, 2.0)
    rule.observe(1.0, pods=0)
    rule.observe(9.0, pods=0)  # nothing new
    assert not rule.is_over(waiter, 10.9)
    assert rule.is_over(waiter, 11.0)
    assert (rule.empty, rule.outcome()) == (True, "EvictedNoEndpoints")
    rule.observe(10.5, pods=3)
    assert not rule.is_over(waiter, 12.4)
    assert rule.is_over(waiter, 12.5)
    assert (rule.empty, rule.outcome()) == (False, "EvictedTTL")


def test_v0_9_knows_one_budget_whatever_the_pool() -> None:
    rule = expiry(profile="v0.9", default_request_ttl_s=2.0, no_endpoint_request_ttl_s=10.0)
    rule.observe(1.0, pods=0)
    assert rule.is_over(item(0.0, 2.0), 2.0)
    assert rule.outcome() == "EvictedTTL"
    assert rule.empty


@given(start=st.integers(0, 3), now=st.integers(0, 40))
def test_sweeps_come_at_whole_seconds_after_the_start(start: int, now: int) -> None:
    rule = Expiry(EppSettings(), started_s=start / 4)
    now_s = start / 4 + now / 8
    due_s = rule.next_sweep_s(now_s)
    assert now_s < due_s <= now_s + 1.0
    assert (due_s - start / 4).is_integer()
