"""A budget against an exact account of every request: nothing passes it, and nothing is lost on the way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.budget import NOTHING, NTH, ONE, Allowance, Budget, Claim, Refused, Reservation
from policies.budget_limit import BudgetLimit, Kind
from policies.usage_window import DAY_S, SLOTS, Moment

pytestmark = pytest.mark.req("ADM-6")

DAY = "day"


def limit(kind: Kind, amount: int, per: int | str) -> BudgetLimit:
    if per == DAY:
        return BudgetLimit(kind=kind, amount=amount, per_s=DAY_S, calendar_day=True)
    return BudgetLimit(kind=kind, amount=amount, per_s=float(per))


def at(now_s: float) -> Moment:
    return Moment(monotonic_s=now_s, unix_s=now_s)


def claiming(
    tokens: int, cost: int | None = None, assumed_tokens: int = 0, assumed_cost: int = 0
) -> Claim:
    money = NOTHING if cost is None else (cost, assumed_cost)
    return (ONE, (tokens, assumed_tokens), money)


def taken(budget: Budget, claim: Claim, now_s: float) -> Reservation:
    found = budget.reserve(claim, at(now_s))
    assert isinstance(found, Reservation)
    return found


def refused(budget: Budget, claim: Claim, now_s: float) -> Refused:
    found = budget.reserve(claim, at(now_s))
    assert isinstance(found, Refused)
    return found


# -- any order of anything ----------------------------------------------------------------


Use = tuple[Kind, float, int]
Running = list[tuple[Reservation, Claim, Use]]


def used(uses: list[Use], one: BudgetLimit, now_s: float, *, slots: int = SLOTS) -> int:
    """What was used in the true window, or in one that is `slots` of 64 of it long."""
    begin_s = now_s - one.per_s * slots / SLOTS
    if one.calendar_day:
        begin_s = now_s // DAY_S * DAY_S - 1
    return sum(amount for kind, at_s, amount in uses if kind == one.kind and at_s > begin_s)


kinds = st.sampled_from(["requests", "tokens", "cost"])
limits = st.lists(
    st.builds(limit, kinds, st.integers(1, 40), st.sampled_from([8, 64, 100, DAY])),
    min_size=1,
    max_size=4,
).map(tuple)
claims = st.builds(
    claiming,
    tokens=st.integers(1, 12),
    cost=st.none() | st.integers(0, 12),
    assumed_tokens=st.sampled_from([0, 0, 3, 50]),
    assumed_cost=st.sampled_from([0, 0, 3, 50]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 3, 8, 30, 64, 65, 101, 30_000])),
        st.tuples(st.just("reserve"), claims),
        st.tuples(st.just("settle"), st.integers(0, 5), st.integers(0, 15), st.integers(0, 15)),
        st.tuples(st.just("release"), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(limits=limits, steps=steps)
def test_a_budget_agrees_with_an_exact_account(
    limits: tuple[BudgetLimit, ...], steps: list[Any]
) -> None:
    budget, now_s = Budget(limits), 1000
    uses: list[Use] = []
    running: Running = []

    def held(index: int) -> int:
        """By requests under way. One is booked as used at once where requests are counted."""
        return 0 if limits[index].kind == "requests" else sum(r.parts[index] for r, _, _ in running)

    for step in steps:
        match step:
            case ("wait", seconds):
                now_s += seconds
            case ("reserve", claim):
                shown = budget.standings(at(now_s))
                found = budget.reserve(claim, at(now_s))
                if isinstance(found, Refused):
                    assert budget.standings(at(now_s)) == shown, "a refusal has used something"
                    index = limits.index(found.limit)
                    longer = used(uses, found.limit, now_s, slots=SLOTS + 1)
                    sure, guess = claim[NTH[found.limit.kind]]
                    needed = max(sure, min(guess, 1))
                    assert needed > 0
                    assert longer + held(index) + needed > found.limit.amount, "for nothing"
                else:
                    running.append((found, claim, ("requests", now_s, 1)))
                    uses.append(running[-1][2])
                    for index, one in enumerate(limits):
                        sure, guess = claim[NTH[one.kind]]
                        if one.kind != "requests":
                            assert sure <= found.parts[index] <= sure + guess
                        if sure or guess:
                            assert used(uses, one, now_s) + held(index) <= one.amount
            case ("settle", index, tokens, cost) if index < len(running):
                reservation, _, _ = running.pop(index)
                budget.settle(reservation, tokens=tokens, cost=cost, now=at(now_s))
                budget.release(reservation)  # too late to count
                uses += [("tokens", now_s, tokens), ("cost", now_s, cost)]
            case ("release", index) if index < len(running):
                reservation, _, use = running.pop(index)
                budget.release(reservation)
                budget.settle(reservation, tokens=99, cost=99, now=at(now_s))  # too late to count
                uses.remove(use)
        for index, standing in enumerate(budget.standings(at(now_s))):
            one = standing.limit
            longer = used(uses, one, now_s, slots=SLOTS + 1)
            assert used(uses, one, now_s) <= standing.used - held(index) <= longer
            assert standing.remaining == max(0, one.amount - standing.used)
            assert standing.reset_s >= 0
    for reservation, _, _ in running:
        budget.release(reservation)
    assert budget.idle(at(now_s + 10 * DAY_S))


@given(limits=limits, steps=steps)
def test_no_true_window_holds_more_than_its_limit(
    limits: tuple[BudgetLimit, ...], steps: list[Any]
) -> None:
    """As long as nobody uses more than was claimed, and whenever one looks."""
    budget, now_s = Budget(limits), 1000
    uses: list[Use] = []
    running: list[tuple[Reservation, Claim]] = []
    for step in steps:
        match step:
            case ("wait", seconds):
                now_s += seconds
            case ("reserve", claim):
                found = budget.reserve(claim, at(now_s))
                if isinstance(found, Reservation):
                    running.append((found, claim))
                    uses.append(("requests", now_s, 1))
            case ("settle", index, tokens, cost) if index < len(running):
                reservation, claim = running.pop(index)
                _, (sure_tokens, _), (sure_cost, _) = claim
                tokens, cost = min(tokens, sure_tokens), min(cost, sure_cost)
                budget.settle(reservation, tokens=tokens, cost=cost, now=at(now_s))
                uses += [("tokens", now_s, tokens), ("cost", now_s, cost)]
        for one in limits:
            assert used(uses, one, now_s) <= one.amount


@given(limits=limits, steps=steps)
def test_the_same_history_gives_the_same_answers(
    limits: tuple[BudgetLimit, ...], steps: list[Any]
) -> None:
    def told() -> list[object]:
        budget, now_s, said = Budget(limits), 1000, []
        running: list[Reservation] = []
        for step in steps:
            match step:
                case ("wait", seconds):
                    now_s += seconds
                case ("reserve", claim):
                    found = budget.reserve(claim, at(now_s))
                    said.append(found if isinstance(found, Refused) else found.parts)
                    if isinstance(found, Reservation):
                        running.append(found)
                case ("settle", index, tokens, cost) if index < len(running):
                    budget.settle(running.pop(index), tokens=tokens, cost=cost, now=at(now_s))
            said.append(budget.standings(at(now_s)))
        return said

    assert told() == told()


@given(limits=limits, steps=steps, claim=claims)
def test_whoever_comes_back_when_told_is_let_in(
    limits: tuple[BudgetLimit, ...], steps: list[Any], claim: Claim
) -> None:
    budget, now_s = Budget(limits), 1000.0
    for step in steps:
        match step:
            case ("wait", seconds):
                now_s += seconds
            case ("reserve", other):
                found = budget.reserve(other, at(now_s))
                if isinstance(found, Reservation):
                    _, (tokens, _), (cost, _) = other
                    budget.settle(found, tokens=tokens, cost=cost, now=at(now_s))
    found = budget.reserve(claim, at(now_s))
    if not isinstance(found, Refused) or found.why == "too_large":
        return
    assert found.why == "used"
    wait_s = found.retry_after_s
    assert wait_s is not None
    early = budget.reserve(claim, at(now_s + wait_s - 2**-10))
    assert isinstance(early, Refused)
    assert isinstance(budget.reserve(claim, at(now_s + wait_s)), Reservation)


# -- one by one ---------------------------------------------------------------------------


def test_requests_are_counted_when_they_come_and_tokens_when_they_are_known() -> None:
    budget = Budget((limit("requests", 2, 60), limit("tokens", 100, 60)))
    first = taken(budget, claiming(tokens=80), 0)
    assert [s.remaining for s in budget.standings(at(0))] == [1, 20]
    # It runs for longer than the window: the request is forgotten, what it holds is not.
    assert [s.remaining for s in budget.standings(at(61))] == [2, 20]
    budget.settle(first, tokens=50, cost=None, now=at(70))
    assert [s.remaining for s in budget.standings(at(70))] == [2, 50]
    assert [s.remaining for s in budget.standings(at(129))] == [2, 50]
    assert [s.remaining for s in budget.standings(at(131))] == [2, 100]


def test_a_refusal_by_one_limit_takes_nothing_from_the_others() -> None:
    budget = Budget((limit("requests", 5, 60), limit("tokens", 100, 60)))
    assert refused(budget, claiming(tokens=101), 0).why == "too_large"
    assert [s.remaining for s in budget.standings(at(0))] == [5, 100]


def test_what_was_used_beyond_the_claim_is_a_debt() -> None:
    budget = Budget((limit("tokens", 100, 64),))
    budget.settle(taken(budget, claiming(tokens=10), 0), tokens=150, cost=None, now=at(0))
    (standing,) = budget.standings(at(0))
    assert (standing.used, standing.remaining, standing.reset_s) == (150, 0, 65.0)
    found = refused(budget, claiming(tokens=1), 1)
    assert (found.why, found.retry_after_s) == ("used", 64.0)


def test_what_is_held_comes_free_no_earlier_than_a_window_from_now() -> None:
    budget = Budget((limit("tokens", 100, 64), limit("tokens", 100, DAY)))
    taken(budget, claiming(tokens=90), 0)
    assert [s.reset_s for s in budget.standings(at(1000))] == [65.0, DAY_S - 1000]


def test_what_runs_is_in_the_way_and_nobody_knows_for_how_long() -> None:
    budget = Budget((limit("tokens", 100, 60),))
    taken(budget, claiming(tokens=90), 0)
    found = refused(budget, claiming(tokens=20), 0)
    assert (found.why, found.retry_after_s) == ("under_way", None)


def test_the_limit_that_is_in_the_way_for_longest_is_named() -> None:
    budget = Budget((limit("requests", 1, 60), limit("tokens", 5, DAY), limit("requests", 1, 3600)))
    budget.settle(taken(budget, claiming(tokens=5), 0), tokens=5, cost=None, now=at(0))
    assert refused(budget, claiming(tokens=5), 0).limit == limit("tokens", 5, DAY)
    assert refused(budget, claiming(tokens=6), 0).why == "too_large"


def test_a_guess_takes_what_is_free_and_refuses_nobody() -> None:
    budget = Budget((limit("tokens", 100, 60),))
    first = taken(budget, claiming(tokens=10, assumed_tokens=500), 0)
    assert first.parts == [100]
    assert refused(budget, claiming(tokens=1), 0).why == "under_way"
    budget.settle(first, tokens=40, cost=None, now=at(0))
    assert taken(budget, claiming(tokens=10, assumed_tokens=500), 0).parts == [60]


def test_a_free_prompt_does_not_get_around_a_budget_of_money() -> None:
    budget = Budget((limit("cost", 10, 60),))
    free_prompt = claiming(tokens=1, cost=0, assumed_cost=3)
    budget.settle(taken(budget, free_prompt, 0), tokens=9, cost=10, now=at(0))
    assert refused(budget, free_prompt, 0).limit.kind == "cost"


def test_what_costs_nothing_or_nobody_knows_what_passes_a_budget_of_money() -> None:
    budget = Budget((limit("cost", 10, 60),))
    budget.settle(taken(budget, claiming(tokens=1, cost=10), 0), tokens=9, cost=11, now=at(0))
    for cost in (0, None):
        budget.settle(
            taken(budget, claiming(tokens=1, cost=cost), 0), tokens=9, cost=cost, now=at(0)
        )
    (standing,) = budget.standings(at(0))
    assert standing.used == 11


def test_a_day_ends_in_the_middle_of_another_limits_slot() -> None:
    budget = Budget((limit("requests", 9, 3600), limit("tokens", 9, DAY)))
    late = Moment(1.0, 7 * DAY_S - 1.0)
    found = budget.reserve(claiming(tokens=5), late)
    assert isinstance(found, Reservation)
    budget.settle(found, tokens=5, cost=None, now=late)
    assert [s.remaining for s in budget.standings(Moment(1.5, 7 * DAY_S - 0.5))] == [8, 4]
    assert [s.remaining for s in budget.standings(Moment(2.0, 7.0 * DAY_S))] == [8, 9]
    wrong = Moment(2.5, 3.0 * DAY_S)  # the clock was days ahead
    assert [s.remaining for s in budget.standings(wrong)] == [8, 9]
    assert budget.standings(wrong)[1].reset_s == 0.0
    assert isinstance(budget.reserve(claiming(tokens=9), wrong), Reservation)
    assert budget.standings(wrong)[1].reset_s == DAY_S


def test_a_budget_is_idle_when_a_new_one_would_be_the_same() -> None:
    budget = Budget((limit("requests", 1, 64), limit("tokens", 9, DAY)))
    assert budget.idle(at(0))
    held = taken(budget, claiming(tokens=1), 0)
    assert not budget.idle(at(100))
    budget.settle(held, tokens=1, cost=None, now=at(100))
    assert not budget.idle(at(1000))
    assert budget.idle(at(DAY_S))


# -- a part of it ---------------------------------------------------------------------------


@pytest.mark.req("OPS-9")
def test_a_process_books_what_it_was_lent_and_shows_what_all_have_used() -> None:
    allowance = Allowance()
    budget = Budget((limit("requests", 10, 60),), [allowance])
    claim = claiming(tokens=5)
    allowance.units, allowance.elsewhere, allowance.empty_at_s = 2, 7, 50.0
    taken(budget, claim, 0.0)
    taken(budget, claim, 0.0)
    found = refused(budget, claim, 1.0)
    assert found.why == "used"
    assert found.retry_after_s == pytest.approx(60 * (SLOTS + 1) / SLOTS - 1)
    (standing,) = budget.standings(at(1.0))
    assert (standing.used, standing.remaining) == (9, 1)
    assert budget.wanted(claim) == [1]
    assert budget.occupied(at(1.0)) == [2]
    assert budget.empties_s(at(1.0)) == [pytest.approx(60 * (SLOTS + 1) / SLOTS - 1)]
    allowance.units = 3
    taken(budget, claim, 1.0)


@pytest.mark.req("OPS-9")
def test_a_guess_wants_what_there_could_be() -> None:
    budget = Budget((limit("tokens", 100, 60),), [Allowance()])
    assert budget.wanted(claiming(tokens=10, assumed_tokens=50)) == [60]
    assert budget.wanted(claiming(tokens=10, assumed_tokens=500)) == [100]
    assert budget.wanted(claiming(tokens=200, assumed_tokens=500)) == [200]


@pytest.mark.req("OPS-9")
def test_what_others_have_used_up_says_when_it_comes_free() -> None:
    allowance = Allowance()
    budget = Budget((limit("tokens", 10, 60),), [allowance])
    allowance.elsewhere, allowance.empty_at_s = 10, 50.0
    found = refused(budget, claiming(tokens=5), 20.0)
    assert (found.why, found.retry_after_s) == ("used", 30.0)
    allowance.elsewhere = 0
    assert refused(budget, claiming(tokens=5), 20.0).why == "under_way"
