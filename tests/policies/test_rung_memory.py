"""What is remembered of a rung: flapping makes patience longer, uselessness makes it wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rung_memory import (
    BACKOFF_MAX,
    CALM_S,
    CLEAN_S,
    FLAP_FACTOR,
    QUARANTINE_S,
    RELIEF,
    TRUST_S,
    RungMemory,
)

pytestmark = pytest.mark.req("INT-6")


def taken(memory: RungMemory, at_s: float, held_s: float) -> bool:
    soon = memory.entered(10.0, at_s)
    memory.left(at_s, at_s + held_s)
    return soon


def test_the_first_time_is_never_too_soon() -> None:
    memory = RungMemory()
    assert not memory.entered(10.0, 0.0)
    assert memory.patience_s == CALM_S


@pytest.mark.parametrize("held_s", [5.0, 100.0])
def test_taken_again_within_twice_its_time_patience_doubles(held_s: float) -> None:
    memory = RungMemory()
    taken(memory, 0.0, held_s)
    back_s = held_s + FLAP_FACTOR * max(held_s, CALM_S)
    late, soon = RungMemory(**_fields(memory)), memory
    assert not late.entered(10.0, back_s)
    assert soon.entered(10.0, back_s - 1.0)
    assert (late.patience_s, soon.patience_s) == (CALM_S, 2 * CALM_S)
    assert soon.trusted_until_s - (back_s - 1.0) == 2 * TRUST_S


def test_patience_has_an_end() -> None:
    memory = RungMemory()
    for nth in range(50):
        taken(memory, nth * 50.0, 40.0)
    assert memory.again == BACKOFF_MAX
    assert memory.patience_s == CALM_S * 2**BACKOFF_MAX


def test_each_hour_away_forgives_one_mistake() -> None:
    memory = RungMemory()
    for nth in range(3):
        taken(memory, nth * 50.0, 40.0)
    assert memory.again == 2
    assert not taken(memory, 140.0 + 1.5 * CLEAN_S, 40.0)
    assert memory.again == 1
    assert not taken(memory, 200.0 + 9 * CLEAN_S, 40.0)
    assert memory.again == 0


def test_a_load_that_needs_a_rung_is_believed_for_half_an_hour() -> None:
    memory = RungMemory()
    memory.entered(10.0, 5.0)
    assert memory.relieved(0.0, 6.0)
    assert not memory.relieved(10.0 * RELIEF, 6.0)
    assert not memory.relieved(20.0, 5.0 + TRUST_S - 0.01)
    assert memory.relieved(20.0, 5.0 + TRUST_S)


@pytest.mark.parametrize(
    ("taken_rps", "gone_rps", "chance_rps"),
    [(1.0, 0.5, 0.6), (10.0, 7.0, 7.1), (100.0, 76.0, 77.0)],
)
def test_a_load_has_fallen_only_where_that_is_not_chance(
    taken_rps: float, gone_rps: float, chance_rps: float
) -> None:
    """Of a fifth less, a slow count must be surer than a quick one."""
    memory = RungMemory()
    memory.entered(taken_rps, 0.0)
    assert memory.relieved(gone_rps, 6.0)
    assert not memory.relieved(chance_rps, 6.0)


def test_a_useless_rung_waits_longer_each_time_until_it_was_of_use() -> None:
    memory = RungMemory()
    assert not memory.banned(0.0)
    waits = []
    for _ in range(BACKOFF_MAX + 3):
        memory.ban(100.0)
        waits.append(memory.banned_until_s - 100.0)
        assert memory.banned(memory.banned_until_s - 0.01)
        assert not memory.banned(memory.banned_until_s)
    doubled = [QUARANTINE_S * 2**nth for nth in range(BACKOFF_MAX + 1)]
    assert waits == [*doubled, doubled[-1], doubled[-1]]
    memory.proved("ttft_p95")
    memory.ban(0.0)
    assert memory.banned_until_s == QUARANTINE_S


def test_what_it_mended_not_long_ago_is_known_until_it_fails_at_it() -> None:
    memory = RungMemory()
    taken(memory, 0.0, 100.0)
    assert not memory.needed_again("ttft_p95", 101.0)
    memory.proved("ttft_p95")
    assert memory.needed_again("ttft_p95", 100.0 + FLAP_FACTOR * 100.0 - 1.0)
    assert not memory.needed_again("ttft_p95", 100.0 + FLAP_FACTOR * 100.0)
    assert not memory.needed_again("tpot_p95", 101.0)
    memory.ban(101.0)
    assert not memory.needed_again("ttft_p95", 102.0)


@given(steps=st.lists(st.tuples(st.integers(0, 8000), st.integers(1, 400)), max_size=20))
def test_patience_is_bounded_and_only_flapping_makes_it_longer(
    steps: list[tuple[int, int]],
) -> None:
    memory, now_s = RungMemory(), 0.0
    for away_s, held_s in steps:
        before = memory.again
        soon = taken(memory, now_s + away_s, float(held_s))
        now_s += away_s + held_s
        assert (memory.again > before) <= soon
        assert CALM_S <= memory.patience_s <= CALM_S * 2**BACKOFF_MAX


def _fields(memory: RungMemory) -> dict[str, float]:
    return {name: getattr(memory, name) for name in memory.__struct_fields__}
