"""Attained service: what counts, how it fades, and that it is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd import service_ledger
from adapters.fakellmd.service_ledger import ServiceLedger

pytestmark = pytest.mark.req("INT-9")


def test_an_answers_token_costs_twice_a_prompts() -> None:
    ledger = ServiceLedger()
    ledger.enter("a", 0.0)
    ledger.credit("a", 100, 50, 1.0)
    assert ledger.service("a") == 200.0
    assert ledger.service("nobody") == 0.0


def test_service_halves_with_every_minute_of_idleness() -> None:
    ledger = ServiceLedger()
    ledger.enter("a", 0.0)
    ledger.credit("a", 800, 0, 0.0)
    ledger.leave("a", 0.0)
    ledger.enter("a", 120.0)
    assert ledger.service("a") == 200.0


def test_a_program_with_something_under_way_keeps_all_of_it() -> None:
    ledger = ServiceLedger()
    ledger.enter("a", 0.0)
    ledger.credit("a", 800, 0, 0.0)
    ledger.enter("a", 100.0)
    ledger.leave("a", 150.0)
    ledger.enter("a", 200.0)
    assert ledger.service("a") == 800.0


def test_after_five_idle_minutes_a_program_is_a_new_one() -> None:
    ledger = ServiceLedger()
    ledger.enter("a", 0.0)
    ledger.credit("a", 10**9, 0, 0.0)
    ledger.leave("a", 0.0)
    ledger.enter("a", 300.0)
    assert ledger.service("a") == 0.0


def test_jains_index_is_one_for_equal_rates_and_less_for_others() -> None:
    ledger = ServiceLedger()
    assert ledger.jain_index() == 1.0
    for program in "ab":
        ledger.enter(program, 0.0)
        ledger.credit(program, 100, 0, 0.0)  # from one completion alone no rate follows
    assert ledger.jain_index() == 1.0
    for program in "ab":
        ledger.credit(program, 100, 0, 1.0)
    assert ledger.jain_index() == 1.0
    ledger.credit("a", 500, 0, 2.0)  # a smoothed rate of 300 beside one of 100
    assert ledger.jain_index() == pytest.approx(400**2 / (2 * (300**2 + 100**2)))


def test_idle_programs_are_forgotten_when_there_are_too_many_and_busy_ones_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_ledger, "MAX_PROGRAMS", 16)
    ledger = ServiceLedger()
    ledger.enter("busy", 0.0)
    ledger.credit("busy", 7, 0, 0.0)
    for number in range(1000):
        ledger.enter(f"p{number}", number / 100)
        ledger.leave(f"p{number}", number / 100)
        assert len(ledger) <= 16
    assert ledger.service("busy") == 7.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), max_size=20))
def test_service_never_grows_by_waiting(steps: list[tuple[str, int]]) -> None:
    ledger, now_s, credited = ServiceLedger(), 0.0, 0.0
    for program, wait_s in steps:
        now_s += wait_s
        ledger.enter(program, now_s)
        ledger.credit(program, 10, 0, now_s)
        credited += 10
        ledger.leave(program, now_s)
        assert 0 < ledger.service(program) <= credited
