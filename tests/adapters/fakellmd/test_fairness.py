"""Which tenant is served next."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.bands import Band
from adapters.fakellmd.epp_settings import BandPolicy, FairnessPolicy
from adapters.fakellmd.fairness import GlobalStrict, ProgramAware, RoundRobin, make
from adapters.fakellmd.ordering import Ask, Item
from adapters.fakellmd.service_ledger import ServiceLedger

pytestmark = pytest.mark.req("INT-9")


def band_of(*rows: tuple[str, float]) -> Band:
    """A band with one request for each (flow, second of its arrival), in that order."""
    band = Band(0, BandPolicy())
    for order, (flow, at_s) in enumerate(rows):
        ask = Ask(call=order, priority=0, flow=flow, body_bytes=1, received_s=at_s)
        band.push(Item(ask, at_s, order, 0.0))
    return band


def served(policy: FairnessPolicy, band: Band, ledger: ServiceLedger | None = None) -> str:
    fairness = make(policy, ledger or ServiceLedger())
    order = ""
    while (flow := fairness.pick(band, 10.0)) is not None:
        band.pop(flow)
        order += flow
    return order


def test_without_fairness_one_tenants_burst_goes_before_everybody_behind_it() -> None:
    rows = [("a", 0.0)] * 4 + [("b", 1.0), ("a", 2.0), ("c", 2.0)]
    assert served("global-strict", band_of(*rows)) == "aaaabac"
    assert GlobalStrict().pick(band_of(), 0.0) is None


def test_round_robin_serves_one_request_a_tenant_in_turn() -> None:
    rows = [("b", 0.0)] * 4 + [("a", 1.0), ("c", 1.0), ("c", 1.0)]
    assert served("round-robin", band_of(*rows)) == "abcbcbb"


def test_round_robin_goes_on_after_the_tenant_it_served_last_and_begins_anew_when_empty() -> None:
    policy = RoundRobin()
    assert policy.pick(band_of(("a", 0.0), ("b", 0.0), ("d", 0.0)), 0.0) == "a"
    assert policy.pick(band_of(("d", 0.0), ("c", 0.0)), 0.0) == "c"
    assert policy.pick(band_of(("b", 0.0)), 0.0) == "b"
    assert policy.pick(band_of(), 0.0) is None
    assert policy.pick(band_of(("a", 0.0), ("c", 0.0)), 0.0) == "a"


def ledger_of(**service: int) -> ServiceLedger:
    ledger = ServiceLedger()
    for program, tokens in service.items():
        ledger.enter(program, 0.0)
        ledger.credit(program, tokens, 0, 0.0)
    return ledger


def test_the_least_served_program_goes_first_even_if_it_came_last() -> None:
    policy = ProgramAware(ledger_of(a=1000, b=10, c=500))
    assert policy.pick(band_of(("a", 0.0), ("b", 9.0), ("c", 0.0)), 10.0) == "b"


def test_among_equally_served_programs_the_longest_wait_decides() -> None:
    policy = ProgramAware(ServiceLedger())
    assert policy.pick(band_of(("a", 3.0), ("b", 1.0), ("c", 2.0)), 4.0) == "b"
    assert policy.pick(band_of(("b", 1.0), ("a", 1.0)), 4.0) == "a"  # a tie


def test_a_long_wait_weighs_a_quarter_of_the_service() -> None:
    """0.8 * (1 - 0.75) + 0.2 * 1 = 0.4 for the one that waits, 0.8 * 1 + 0 for the unserved one."""
    policy = ProgramAware(ledger_of(a=75, b=0, c=100))
    assert policy.pick(band_of(("a", 0.0), ("b", 9.0), ("c", 9.0)), 10.0) == "b"
    # 0.8 * 0.2 + 0.2 = 0.36 beats 0.8 * 0.4 = 0.32 and 0.8 * 0 + 0.2 * 0 = 0.
    close = ProgramAware(ledger_of(a=80, b=60, c=100, d=0))
    assert close.pick(band_of(("a", 0.0), ("b", 9.0), ("c", 9.0), ("d", 9.0)), 10.0) == "d"
    without_d = ProgramAware(ledger_of(a=80, b=75, c=100))
    assert without_d.pick(band_of(("a", 0.0), ("b", 9.0), ("c", 9.0)), 10.0) == "a"


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=25),
    policy=st.sampled_from(["global-strict", "round-robin", "program-aware"]),
)
def test_every_policy_serves_everybody_once_and_keeps_the_order_inside_a_tenant(
    rows: list[tuple[str, int]], policy: FairnessPolicy
) -> None:
    band = band_of(*((flow, float(at)) for flow, at in rows))
    assert Counter(served(policy, band)) == Counter(flow for flow, _ in rows)
    assert band.requests == 0


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=25))
def test_round_robin_never_serves_anyone_twice_while_another_waits_for_its_turn(
    flows: list[str],
) -> None:
    band = band_of(*((flow, 0.0) for flow in flows))
    policy, since = RoundRobin(), Counter[str]()
    while (flow := policy.pick(band, 0.0)) is not None:
        waiting = set(band.flows)
        band.pop(flow)
        since[flow] += 1
        least = min(since[other] for other in waiting)
        assert since[flow] - 1 <= least + 1
