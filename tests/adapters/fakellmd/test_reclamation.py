"""Evictions: whom, how many, and not again before the last one can have shown."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_headers import Wants
from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.flow_control import Halt
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.reclamation import Reclamation

pytestmark = pytest.mark.req("INT-9")
MakeCall = Callable[..., Call]
DEMAND = [(10, 1), (0, 0), (-5, 3)]
"""Priority and how many wait, highest first."""
FULL = Halt(saturation=1.0, index=0, ceilings=[1.0, 1.0, 1.0])


def ids(calls: list[Call]) -> list[int]:
    return [call.id for call in calls]


def reclamation(**members: object) -> Reclamation:
    return Reclamation(EppSettings(enable_eviction=True, **members))


def test_one_victim_makes_room_at_the_boundary_and_two_at_most_beyond(make_call: MakeCall) -> None:
    victims = [make_call(number, priority=-5) for number in (3, 2, 1)]
    assert ids(reclamation().decide(0.0, FULL, DEMAND, victims, 10)) == [3]
    over = Halt(saturation=2.0, index=0, ceilings=[1.0, 1.0, 1.0])
    assert ids(reclamation().decide(0.0, over, DEMAND, victims, 10)) == [3, 2]
    generous = reclamation(max_revocations_per_decision=9)
    assert ids(generous.decide(0.0, over, DEMAND, victims, 10)) == [3, 2, 1]


def test_no_victim_is_of_the_demands_priority_or_above(make_call: MakeCall) -> None:
    victims = [make_call(1, priority=-9), make_call(2, priority=-5), make_call(3, priority=-1)]
    over = Halt(saturation=3.0, index=0, ceilings=[1.0, 1.0])
    demand = [(0, 0), (-5, 4)]
    assert ids(reclamation().decide(0.0, over, demand, victims, 3)) == [1]
    assert not reclamation().decide(0.0, over, [(-9, 4)], victims, 3)
    assert not reclamation().decide(0.0, over, [(0, 0), (-5, 0)], victims, 3)
    assert not reclamation().decide(0.0, over, demand, [], 3)


def test_a_band_that_is_shut_for_good_or_open_is_no_demand(make_call: MakeCall) -> None:
    victims = [make_call(1, priority=-9)]
    shut = Halt(saturation=0.9, index=0, ceilings=[0.0, 0.5])
    assert ids(reclamation().decide(0.0, shut, [(10, 1), (0, 1)], victims, 1)) == [1]
    pulse = Halt(saturation=0.9, index=0, ceilings=[0.0, 1.0])
    assert not reclamation().decide(0.0, pulse, [(10, 1), (0, 1)], victims, 1)
    below = Halt(saturation=0.9, index=1, ceilings=[0.5, 0.5])
    assert not reclamation().decide(0.0, below, [(10, 1), (0, 0)], victims, 1)


def test_it_waits_for_the_confirmation_and_then_for_the_grace(make_call: MakeCall) -> None:
    stop = reclamation()
    victims = [make_call(1, priority=-5), make_call(2, priority=-5)]
    assert ids(stop.decide(0.0, FULL, DEMAND, victims[:1], 5)) == [1]
    assert not stop.decide(3.0, FULL, DEMAND, victims[1:], 5)
    stop.confirm(99, 3.0)  # somebody else's end confirms nothing
    assert not stop.decide(3.5, FULL, DEMAND, victims[1:], 5)
    stop.confirm(1, 4.0)
    assert stop.opens_s() == 4.5
    assert not stop.decide(4.499, FULL, DEMAND, victims[1:], 5)
    assert ids(stop.decide(4.5, FULL, DEMAND, victims[1:], 5)) == [2]
    assert (stop.issued, stop.confirmed, stop.timed_out) == (2, 1, 0)


def test_an_eviction_that_nobody_confirms_counts_as_confirmed_after_ten_seconds(
    make_call: MakeCall,
) -> None:
    stop = reclamation()
    victims = [make_call(1, priority=-5), make_call(2, priority=-5)]
    stop.decide(0.0, FULL, DEMAND, victims[:1], 5)
    assert stop.opens_s() == 10.0
    assert not stop.decide(10.0, FULL, DEMAND, victims[1:], 5)
    assert (stop.timed_out, stop.opens_s()) == (1, 10.5)
    assert ids(stop.decide(10.5, FULL, DEMAND, victims[1:], 5)) == [2]


@given(
    priorities=st.lists(st.integers(-4, -1), max_size=8),
    demand=st.integers(-4, 2),
    saturation=st.integers(2, 9),
)
def test_victims_always_are_below_the_demand_and_within_the_bound(
    priorities: list[int], demand: int, saturation: int
) -> None:
    victims = [
        Call(
            id=number,
            model="m",
            target="m",
            wants=Wants(request_id="r"),
            priority=priority,
            prompt_tokens=1,
            body_bytes=1,
            received_s=0.0,
        )
        for number, priority in enumerate(sorted(priorities))
    ]
    halt = Halt(saturation=saturation / 2, index=0, ceilings=[1.0])
    chosen = reclamation().decide(0.0, halt, [(demand, 1)], victims, len(victims) or 1)
    assert len(chosen) <= 2
    assert all(call.priority < demand for call in chosen)
    assert ids(chosen) == ids(victims)[: len(chosen)]
    assert bool(chosen) is any(call.priority < demand for call in victims)
