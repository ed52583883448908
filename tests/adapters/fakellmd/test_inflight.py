"""What is in flight: counted where it went, until it ends."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_headers import Wants
from adapters.fakellmd.inflight import Call, InFlight
from adapters.fakellmd.saturation import Load

pytestmark = pytest.mark.req("INT-9")
MakeCall = Callable[..., Call]


def test_a_call_counts_on_its_pod_from_its_placing_to_its_end(make_call: MakeCall) -> None:
    inflight = InFlight(2)
    inflight.add(make_call(1, prompt_tokens=7))
    assert (len(inflight), inflight.load(1)) == (1, Load(0, 0))
    inflight.place(1, 1)
    assert (inflight.load(0), inflight.load(1)) == (Load(0, 0), Load(1, 7))
    assert [flight.pod for flight in inflight.flights()] == [1]
    assert inflight.remove(1) == make_call(1, prompt_tokens=7)
    assert inflight.remove(1) is None
    assert (len(inflight), inflight.load(1)) == (0, Load(0, 0))
    with pytest.raises(KeyError):
        inflight.place(1, 0)


def test_a_call_that_no_pod_took_leaves_no_trace(make_call: MakeCall) -> None:
    inflight = InFlight(1)
    inflight.add(make_call(1))
    assert inflight.remove(1) is not None
    assert inflight.load(0) == Load(0, 0)


def test_victims_are_sheddable_lowest_priority_first_and_newest_first(make_call: MakeCall) -> None:
    inflight = InFlight(1)
    rows = [(1, -1, "a"), (2, -5, "b"), (3, 0, "c"), (4, -1, "d"), (5, -9, ""), (6, -5, "f")]
    for number, priority, request_id in rows:
        inflight.add(make_call(number, priority=priority, request_id=request_id))
    assert [call.id for call in inflight.victims()] == [6, 2, 4, 1]
    assert inflight.tracked() == 5  # without an id a request is not tracked


def test_the_tightest_promise_on_a_pod_is_of_those_that_have_one(make_call: MakeCall) -> None:
    inflight = InFlight(2)
    assert inflight.tightest_tpot_s(0) == 0.0
    for number, slo_s, request_id in ((1, 0.05, "a"), (2, 0.02, "b"), (3, 0.0, "c"), (4, 0.01, "")):
        inflight.add(make_call(number, tpot_slo_s=slo_s, request_id=request_id))
        inflight.place(number, 0)
    assert inflight.tightest_tpot_s(0) == 0.02
    assert inflight.tightest_tpot_s(1) == 0.0


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.booleans()), max_size=30))
def test_counts_are_the_sum_of_what_is_under_way(steps: list[tuple[int, int, bool]]) -> None:
    inflight, live = InFlight(2), dict[int, tuple[int, int]]()
    for number, (pod, tokens, end) in enumerate(steps):
        call = Call(
            id=number,
            model="m",
            target="m",
            wants=Wants(),
            priority=0,
            prompt_tokens=tokens,
            body_bytes=1,
            received_s=0.0,
        )
        inflight.add(call)
        inflight.place(number, pod)
        live[number] = (pod, tokens)
        if end:
            gone = min(live)
            assert inflight.remove(gone) is not None
            del live[gone]
        for at in (0, 1):
            mine = [tokens for pod, tokens in live.values() if pod == at]
            assert inflight.load(at) == Load(len(mine), sum(mine))
