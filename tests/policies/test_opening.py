"""Slow start by answers: what is let in on hope, and what an objective allows."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.fakellmd import law
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from policies.limit import THETA, LimitReading
from policies.opening import opened, room

pytestmark = pytest.mark.req("INT-4")

UNANSWERED = 16.0


def reading(
    tpot_s: float | None = None,
    objective_s: float | None = 0.025,
    *,
    answering: int = 10,
    least: int = 10,
    first_token_s: float | None = None,
    late: bool = False,
) -> LimitReading:
    return LimitReading(
        tpot_s=tpot_s,
        tpot_objective_s=objective_s,
        binding=True,
        inflight=16,
        upstream_late=late,
        answering=answering,
        least_inflight=least,
        first_token_s=first_token_s,
    )


@given(places=st.integers(1, 300), asked=st.integers(0, 600))
def test_an_engine_of_so_many_places_is_given_that_and_a_few_however_many_ask(
    places: int, asked: int
) -> None:
    """Whoever finds a place has a first token at once, and nobody else has one."""
    limit, inside = UNANSWERED, 0
    while inside < min(asked, int(limit)):
        inside += 1
        limit = max(limit, opened(min(inside, places), UNANSWERED))
    assert inside <= max(UNANSWERED, places + min(places, UNANSWERED))
    if asked >= places:
        assert inside >= min(places, asked), "and none of its places stays empty"


def test_one_with_fewer_places_than_a_model_begins_with_is_given_no_more_than_that() -> None:
    for places in (1, 4, 8):
        assert opened(places, UNANSWERED) <= UNANSWERED


def test_while_everybody_is_answered_it_doubles_and_then_goes_on_by_as_many_as_it_began_with() -> (
    None
):
    assert [opened(n, UNANSWERED) for n in (0, 1, 8, 16, 17, 100)] == [0, 2, 16, 32, 33, 116]


@given(
    sequences=st.integers(2, 256),
    factor=st.sampled_from([1.0, 1.5, 3.0, 6.0]),
    objective_s=st.sampled_from([0.011, 0.015, 0.02, 0.03, 0.06]),
    at_once=st.integers(1, 64),
)
def test_as_many_as_there_is_room_for_keep_the_objective(
    sequences: int, factor: float, objective_s: float, at_once: int
) -> None:
    """At the law of the simulated engine, from whatever concurrency its pace was seen at; but two at once must
    not be more than twice as slow as one, or nothing that was seen would say anything."""
    assume(factor <= sequences)
    latency = Latency(inter_token_latency_s=0.01, time_factor_under_load=factor)
    told = LlmdSettings(models=(ServedModel(name="m"),), max_num_seqs=sequences, latency=latency)
    pace_s = law.gap_s(latency, min(at_once, sequences), sequences)
    allowed = room(reading(pace_s, objective_s, least=at_once))
    assert allowed is not None
    if pace_s <= THETA * objective_s:
        assert allowed >= at_once
        running = min(int(allowed), sequences)
        assert law.gap_s(told.latency, running, sequences) <= objective_s
    else:
        assert allowed < at_once, "it is too slow as it is"


def test_until_a_pace_is_known_a_first_token_stands_for_it() -> None:
    """It took a whole step of the batch at least; here the objective is four times as long."""
    quick = room(reading(None, 0.1, answering=12, first_token_s=0.0245))
    assert quick == pytest.approx(12 * 4)
    assert room(reading(0.05, 0.1, answering=12, least=6, first_token_s=0.0245)) == pytest.approx(
        6 * THETA * 2
    ), "what is known counts, and what ran when it was seen"


def test_nothing_is_known_before_anything_was_seen() -> None:
    assert room(reading(None)) is None
    assert room(reading(None, first_token_s=0.01, answering=0)) is None
    for nonsense in (0.0, -1.0, math.inf, math.nan):
        assert room(reading(nonsense)) is None


def test_where_nothing_was_promised_about_pace_there_is_room_unless_a_queue_is_inside() -> None:
    assert room(reading(None, None)) == math.inf
    assert room(reading(None, None, late=True)) == 0.0
    assert room(reading(0.001, 1.0, late=True)) == 0.0


@given(
    tpot_s=st.sampled_from([None, 0.001, 0.02, 0.5]),
    first_token_s=st.sampled_from([None, 0.001, 0.2]),
    objectives=st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)),
    answering=st.integers(0, 500),
    late=st.booleans(),
)
def test_a_looser_objective_never_leaves_less_room(
    tpot_s: float | None,
    first_token_s: float | None,
    objectives: tuple[float, float],
    answering: int,
    late: bool,
) -> None:
    tight, loose = (
        room(
            reading(
                tpot_s,
                objective_s,
                answering=answering,
                least=answering,
                first_token_s=first_token_s,
                late=late,
            )
        )
        for objective_s in sorted(objectives)
    )
    assert (tight is None) == (loose is None)
    assert (tight or 0.0) <= (loose or 0.0)
