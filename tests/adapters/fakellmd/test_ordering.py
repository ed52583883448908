"""Who goes first in a flow: by arrival, by the end of its TTL, or by its TTFT objective."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.epp_settings import OrderingPolicy
from adapters.fakellmd.ordering import Ask, Item, key

pytestmark = pytest.mark.req("INT-9")
seconds = st.integers(0, 4)
items = st.lists(st.tuples(seconds, seconds, st.one_of(st.none(), st.integers(0, 3))), max_size=12)


def item(order: int, enqueued_s: float, ttl_s: float = 0, slo_s: int | None = None) -> Item:
    ask = Ask(
        call=order,
        priority=0,
        flow="f",
        body_bytes=1,
        received_s=enqueued_s,
        ttft_deadline_ms=None if slo_s is None else slo_s * 1000,
    )
    return Item(ask, enqueued_s, order, ttl_s)


def in_order(policy: OrderingPolicy, rows: list[Item]) -> list[int]:
    return [row.order for row in sorted(rows, key=lambda row: key(policy, row))]


def test_fcfs_goes_by_arrival_whatever_was_promised() -> None:
    rows = [item(2, 5.0, slo_s=0), item(1, 5.0, ttl_s=1), item(3, 4.0, slo_s=9)]
    assert in_order("fcfs", rows) == [3, 1, 2]


def test_edf_goes_by_the_end_of_the_ttl_and_who_has_none_is_last() -> None:
    rows = [item(1, 0.0), item(2, 0.0, ttl_s=9), item(3, 5.0, ttl_s=1), item(4, 5.0, ttl_s=4)]
    assert in_order("edf", rows) == [3, 2, 4, 1]


def test_slo_deadlines_count_from_receipt_and_who_has_none_is_last() -> None:
    rows = [item(1, 0.0), item(2, 3.0, slo_s=1), item(3, 0.0, slo_s=5), item(4, 2.0, slo_s=2)]
    assert in_order("slo-deadline", rows) == [4, 2, 3, 1]  # 2 and 4 tie: receipt decides


@given(rows=items, policy=st.sampled_from(["fcfs", "edf", "slo-deadline"]))
def test_no_two_requests_tie_and_equals_go_by_arrival(
    rows: list[tuple[int, int, int | None]], policy: OrderingPolicy
) -> None:
    made = [item(n, at, ttl, slo) for n, (at, ttl, slo) in enumerate(rows)]
    keys = [key(policy, row) for row in made]
    assert len(set(keys)) == len(keys)
    same = [item(n, 1.0, 2.0, 3) for n in range(4)]
    assert in_order(policy, same[::-1]) == [0, 1, 2, 3]
