"""Who waits less: a comparison of waits that end at about the same time."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.wait_order import SLOT_S, Wait, compare_waits

pytestmark = pytest.mark.req("INT-8")

# Small integers, so that ties happen; some three slots.
WAITS = st.lists(st.tuples(st.integers(0, int(3 * SLOT_S)).map(float), st.integers(0, 4)))


@given(first=WAITS, second=WAITS)
def test_the_share_is_that_of_all_pairs_of_the_same_time(
    first: list[Wait], second: list[Wait]
) -> None:
    found = compare_waits(first, second, at_least=1)
    pairs = [
        (mine, theirs)
        for (at_s, mine), (other_s, theirs) in product(first, second)
        if at_s // SLOT_S == other_s // SLOT_S
    ]
    if not pairs:
        assert found is None
        return
    wins = sum(1.0 if mine < theirs else 0.5 if mine == theirs else 0.0 for mine, theirs in pairs)
    assert found is not None
    assert found.ahead == pytest.approx(wins / len(pairs))


@given(first=WAITS, second=WAITS)
def test_the_other_way_round_it_is_the_rest(first: list[Wait], second: list[Wait]) -> None:
    found, turned = (compare_waits(a, b, at_least=2) for a, b in ((first, second), (second, first)))
    assert (found is None) == (turned is None)
    if found is not None and turned is not None:
        assert found.ahead + turned.ahead == pytest.approx(1)
        assert (found.first_s, found.second_s) == (turned.second_s, turned.first_s)


def test_waits_of_another_hour_are_not_compared() -> None:
    calm = [(float(second), 0.0) for second in range(30)]
    crowded = [(600.0 + second, 5.0) for second in range(30)]
    assert compare_waits(calm, crowded, at_least=1) is None
    both = compare_waits([*calm, (600.0, 9.0)], crowded, at_least=1)
    assert both is not None
    assert (both.ahead, both.first_s, both.second_s) == (0.0, 9.0, 5.0)


def test_too_few_waits_that_can_be_compared_are_no_comparison() -> None:
    many = [(0.0, 1.0)] * 40
    assert compare_waits(many, [(0.0, 2.0)] * 19, at_least=20) is None
    assert compare_waits([(0.0, 2.0)] * 19, many, at_least=20) is None
    assert compare_waits(many, [(0.0, 2.0)] * 20, at_least=20) is not None
    assert compare_waits([], [], at_least=0) is None
