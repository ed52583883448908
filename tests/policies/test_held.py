"""What the loop holds: whom it concerns, and draws that are spread evenly and always the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.policy import Rung
from policies.held import CALM, HOLDOUT, NO_DRAWS, Decline, Draws, HeldRung, Holding, draws

pytestmark = pytest.mark.req("INT-5")


def decline(*, below: int = 0, sheddable_only: bool = False) -> Decline:
    return Decline(
        action=1,
        rung=Rung("shed"),
        intent="interactive",
        below=below,
        pools=frozenset({"cluster"}),
        sheddable_only=sheddable_only,
    )


@pytest.mark.parametrize(
    ("priority", "pool", "concerned"),
    [(9, "cluster", True), (10, "cluster", False), (11, "cluster", False), (9, "local", False)],
)
def test_only_lower_classes_in_the_same_pools_are_turned_away(
    priority: int, pool: str, concerned: bool
) -> None:
    assert decline(below=10).concerns(priority, pool) is concerned


@given(priority=st.integers(-3, 3), below=st.integers(-3, 3))
def test_shedding_spares_whoever_may_not_be_shed(priority: int, below: int) -> None:
    shed = decline(below=below, sheddable_only=True).concerns(priority, "cluster")
    assert shed is (priority < below and priority < 0)


def test_nothing_is_held_in_calm() -> None:
    assert Holding() == CALM
    assert (CALM.rungs, CALM.declines, CALM.until_s) == ({}, (), float("inf"))


def test_holdings_do_not_share_their_rungs() -> None:
    one, other = Holding(), Holding()
    one.rungs["interactive"] = (HeldRung(action=1, rung=Rung("order")),)
    assert not other.rungs
    assert not CALM.rungs


def test_who_is_only_rehearsed_is_neither_spared_nor_shed_by_a_share() -> None:
    assert not any(share > draw for draw in (NO_DRAWS.spare, NO_DRAWS.shed) for share in (0.1, 1.0))
    assert Draws() == NO_DRAWS


@given(nth=st.integers(0, 10**9))
def test_draws_are_shares_and_the_same_for_the_same_request(nth: int) -> None:
    drawn = draws(nth)
    assert drawn == draws(nth)
    assert 0 <= drawn.spare < 1
    assert 0 <= drawn.shed < 1


@given(start=st.integers(0, 10**6), length=st.integers(1, 400), share=st.floats(0.01, 0.99))
def test_of_any_stretch_of_requests_a_share_is_drawn_to_within_a_few(
    start: int, length: int, share: float
) -> None:
    """Chance would miss by the square root of the length."""
    stretch = [draws(nth) for nth in range(start, start + length)]
    for drawn in (sum(d.spare < share for d in stretch), sum(d.shed < share for d in stretch)):
        assert abs(drawn - share * length) <= 4


def test_who_is_spared_says_nothing_about_who_is_shed() -> None:
    drawn = [draws(nth) for nth in range(4000)]
    spared = [d for d in drawn if d.spare < HOLDOUT]
    assert len(spared) == pytest.approx(4000 * HOLDOUT, rel=0.02)
    for share in (0.1, 0.5, 0.9):
        both = sum(d.shed < share for d in spared)
        assert both / len(spared) == pytest.approx(share, abs=0.04)
