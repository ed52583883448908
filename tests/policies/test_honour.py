"""Whether llm-d does what an objective asks: a verdict only on evidence, and the right one."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.honour import (
    COUNTED_FOR_S,
    ENOUGH,
    OBJECTIVES_MAX,
    SAMPLES_MAX,
    WINDOW_S,
    Honour,
    Verdict,
)

pytestmark = pytest.mark.req("INT-8")

Waits = Callable[[int], float | None]


def fed(
    honour: Honour,
    objective: str,
    priority: int,
    waits: Waits = lambda nth: None,
    *,
    answers: int = ENOUGH,
    from_s: float = 0.0,
    every_s: float = 0.1,
    sent_s: float | None = None,
) -> Honour:
    for nth in range(answers):
        at_s = from_s + nth * every_s
        honour.answered(objective, priority, waits(nth), at_s, sent_s=sent_s)
    return honour


def verdict(honour: Honour, objective: str = "interactive") -> Verdict:
    return honour.state(objective).verdict


# -- without evidence -------------------------------------------------------------------


def test_without_enough_answers_nothing_is_said() -> None:
    honour = Honour()
    assert honour.state("interactive").why == "no answer yet"
    fed(honour, "interactive", 10, lambda nth: 0.0, answers=ENOUGH - 1)
    state = honour.state("interactive")
    assert (state.verdict, state.why) == ("unconfirmed", "19 answers of late, and 20 are needed")


def test_answers_that_tell_no_wait_mean_that_flow_control_is_not_in_the_path() -> None:
    state = fed(Honour(), "interactive", 10).state("interactive")
    assert state.verdict == "unconfirmed"
    assert "flow control is not in the path" in state.why


def test_without_a_queue_nobody_can_be_first() -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: 0.05)
    fed(honour, "batch", -10, lambda nth: 0.0)
    for objective in ("interactive", "batch"):
        state = honour.state(objective)
        assert state.verdict == "unconfirmed"
        assert "no queue to be first in" in state.why


def test_a_class_alone_is_compared_with_nobody() -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: 3.0)
    fed(honour, "chat", 10, lambda nth: 9.0)
    state = honour.state("interactive")
    assert (state.verdict, state.why) == ("unconfirmed", "no other class waits with it to compare")


def test_priority_0_is_what_llmd_gives_to_all() -> None:
    assert verdict(fed(Honour(), "usual", 0), "usual") == "unconfirmed"  # no flow control at all
    assert verdict(fed(Honour(), "usual", 0, lambda nth: 5.0), "usual") == "honoured"


# -- what waits say ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("higher", "lower", "expected"),
    [
        (lambda nth: 0.0, lambda nth: 0.2, "honoured"),
        (lambda nth: 0.1, lambda nth: 0.2 if nth % 5 else 0.0, "honoured"),  # 4 of 5
        (lambda nth: 0.1, lambda nth: 0.2 if nth % 10 < 7 else 0.0, "unconfirmed"),
        (lambda nth: 0.1, lambda nth: 0.2 if nth % 5 < 3 else 0.0, "not_honoured"),
        (lambda nth: 0.2, lambda nth: 0.2, "not_honoured"),
        (lambda nth: 0.2, lambda nth: 0.0, "not_honoured"),
        (lambda nth: nth / 10, lambda nth: nth / 10, "not_honoured"),  # one common queue
    ],
)
def test_a_class_is_honoured_where_it_clearly_waits_less_than_a_lower_one(
    higher: Waits, lower: Waits, expected: Verdict
) -> None:
    honour = fed(Honour(), "interactive", 10, higher)
    fed(honour, "batch", -10, lower)
    assert verdict(honour) == verdict(honour, "batch") == expected


def test_the_reason_has_the_numbers_and_the_likely_cause() -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: 0.31)
    fed(honour, "batch", -10, lambda nth: 0.29)
    assert honour.state("interactive").why == (
        "it waits 310 ms in llm-d's queue, 'batch' (priority -10) 290 ms: "
        "is there an InferenceObjective named 'interactive'?"
    )


def test_who_differs_from_priority_0_is_known_whatever_others_wait() -> None:
    """`urgent` is missing at llm-d, so its requests wait like those of priority 0."""
    honour = fed(Honour(), "urgent", 20, lambda nth: 0.5)
    fed(honour, "interactive", 10, lambda nth: 0.0)
    fed(honour, "usual", 0, lambda nth: 0.5)
    fed(honour, "batch", -10, lambda nth: 2.0)
    assert verdict(honour, "urgent") == "not_honoured"
    assert verdict(honour, "interactive") == "honoured"
    assert verdict(honour, "usual") == "honoured"
    assert verdict(honour, "batch") == "honoured"


def test_one_class_that_waits_as_long_outweighs_another_that_waits_longer() -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: 0.5)
    fed(honour, "bulk", 5, lambda nth: 0.9)
    fed(honour, "batch", -10, lambda nth: 0.5)
    assert verdict(honour) == "not_honoured"


def test_a_burst_of_one_class_is_not_held_against_it() -> None:
    honour = fed(Honour(), "batch", -10, lambda nth: 0.0)
    fed(honour, "interactive", 10, lambda nth: 2.0, from_s=120.0)
    assert verdict(honour) == "unconfirmed"


def test_what_is_long_past_counts_no_more() -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: 0.0)
    fed(honour, "batch", -10, lambda nth: 0.5)
    assert verdict(honour) == "honoured"
    honour.answered("other", 1, None, WINDOW_S + 2.0)
    assert verdict(honour) == "unconfirmed"


def test_another_priority_for_a_name_starts_afresh() -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: 0.0)
    fed(honour, "batch", -10, lambda nth: 0.5)
    honour.answered("interactive", 11, 0.0, 3.0)
    assert honour.state("interactive").why.startswith("1 answers")


def test_a_busy_class_is_remembered_as_far_back_as_a_quiet_one() -> None:
    honour = Honour()
    for second in range(int(WINDOW_S)):
        fed(honour, "interactive", 10, lambda nth: 0.0, from_s=second, every_s=0.01, answers=50)
        if second % 10 == 0:
            honour.answered("batch", -10, 0.5, float(second))
    assert verdict(honour) == verdict(honour, "batch") == "honoured"


# -- what the endpoint picker counts ----------------------------------------------------


def counted(
    after: dict[int, float], *, before: dict[int, float] | None = None, priority: int = 10
) -> Honour:
    honour = Honour()
    honour.scraped(before or {}, 0.0)
    fed(honour, "interactive", priority, from_s=1.0)
    honour.scraped(after, 10.0)
    return honour


def test_requests_that_are_counted_under_their_priority_are_honoured() -> None:
    state = counted({0: 500, 10: 120}, before={0: 400, 10: 100}).state("interactive")
    assert state.verdict == "honoured"
    assert state.why == "llm-d counts its requests under priority 10"


@pytest.mark.parametrize("priority", [10, -10])
def test_requests_that_are_counted_under_priority_0_are_not(priority: int) -> None:
    honour = counted({0: 20, 10: 3, -10: 3}, before={10: 3, -10: 3}, priority=priority)
    state = honour.state("interactive")
    assert state.verdict == "not_honoured"
    assert state.why == (
        "llm-d counts its requests under priority 0: is there an InferenceObjective named 'interactive'?"
    )


def test_the_number_that_llmd_has_may_be_another_one() -> None:
    state = counted({0: 5, 100: 20}).state("interactive")
    assert state.verdict == "unconfirmed"
    assert "under priority 100, which no intent here has" in state.why


def test_counters_that_stand_still_say_that_flow_control_is_off() -> None:
    state = counted({0: 5}, before={0: 5}).state("interactive")
    assert state.verdict == "unconfirmed"
    assert "is it on?" in state.why


@pytest.mark.parametrize(
    ("after", "before"),
    [
        ({0: 30, 10: 4}, {}),  # some of them: another endpoint picker has the rest
        ({0: 3, 10: 0}, {0: 900, 10: 500}),  # a restart: there is nothing to compare with
    ],
)
def test_counters_that_prove_nothing_leave_it_to_the_answers(
    after: dict[int, float], before: dict[int, float]
) -> None:
    assert (
        "flow control is not in the path" in counted(after, before=before).state("interactive").why
    )


def test_after_a_restart_counting_goes_on() -> None:
    honour = counted({0: 3}, before={0: 900})
    fed(honour, "interactive", 10, from_s=11.0)
    honour.scraped({0: 30}, 20.0)
    assert verdict(honour) == "not_honoured"


def test_what_was_sent_before_a_scrape_may_be_counted_in_it() -> None:
    honour = Honour()
    honour.scraped({10: 20}, 5.0)
    fed(honour, "interactive", 10, from_s=6.0, sent_s=4.0)
    honour.scraped({0: 9, 10: 20}, 10.0)
    assert verdict(honour) == "unconfirmed"
    fed(honour, "interactive", 10, from_s=11.0, sent_s=10.0)
    honour.scraped({0: 30, 10: 20}, 20.0)
    assert verdict(honour) == "not_honoured"


def test_two_objectives_of_one_priority_cannot_be_told_apart_by_counters() -> None:
    honour = Honour()
    honour.scraped({}, 0.0)
    fed(honour, "interactive", 10)
    fed(honour, "missing", 10)
    honour.scraped({0: 20, 10: 20}, 10.0)
    assert verdict(honour) == verdict(honour, "missing") == "unconfirmed"
    fed(honour, "interactive", 10, from_s=10.0)
    fed(honour, "missing", 10, from_s=10.0)
    honour.scraped({0: 60, 10: 20}, 20.0)
    assert verdict(honour) == verdict(honour, "missing") == "not_honoured"


def test_counters_outweigh_waits_and_a_verdict_follows_newer_ones() -> None:
    honour = Honour()
    honour.scraped({}, 0.0)
    fed(honour, "batch", -10, lambda nth: 0.5)
    fed(honour, "interactive", 10, lambda nth: 0.0)
    honour.scraped({0: 40}, 10.0)
    assert verdict(honour) == "not_honoured"
    fed(honour, "interactive", 10, lambda nth: 0.0, from_s=10.0)
    honour.scraped({0: 60, 10: 20}, 20.0)  # somebody created the objective
    assert verdict(honour) == "honoured"


def test_a_count_of_long_ago_says_nothing_about_now() -> None:
    honour = counted({0: 20})
    fed(honour, "interactive", 10, from_s=10.0 + COUNTED_FOR_S - 2.0)
    assert verdict(honour) == "not_honoured"
    honour.answered("interactive", 10, None, 11.0 + COUNTED_FOR_S)
    assert verdict(honour) == "unconfirmed"


# -- whatever comes ---------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
WAIT = st.none() | st.integers(0, 3).map(float)
ANSWER = st.tuples(NAMES, st.integers(-1, 1), WAIT, st.integers(1, 30))
SCRAPE = st.dictionaries(st.integers(-1, 2), st.integers(0, 100).map(float), max_size=4)


@given(steps=st.lists(ANSWER | SCRAPE, max_size=40), gap_s=st.integers(0, 20))
def test_no_story_breaks_it_and_few_answers_never_decide(
    steps: list[tuple[str, int, float | None, int] | dict[int, float]], gap_s: int
) -> None:
    honour, now_s, answers = Honour(), 0.0, dict.fromkeys("abc", 0)
    for step in steps:
        now_s += gap_s
        if isinstance(step, dict):
            honour.scraped(step, now_s)
            continue
        name, priority, queue_s, times = step
        for _ in range(times):
            honour.answered(name, priority, queue_s, now_s)
        answers[name] += times
        assert honour.state("never seen").verdict == "unconfirmed"
    for name, count in answers.items():
        state = honour.state(name)
        assert state.why
        if count < ENOUGH:
            assert state.verdict == "unconfirmed"


@given(waits=st.lists(st.integers(1, 5).map(float), min_size=ENOUGH, max_size=60))
def test_equal_waits_are_never_called_honoured(waits: list[float]) -> None:
    honour = fed(Honour(), "interactive", 10, lambda nth: waits[nth], answers=len(waits))
    fed(honour, "batch", -10, lambda nth: waits[nth], answers=len(waits))
    assert verdict(honour) == "not_honoured"


def test_memory_is_bounded_and_the_longest_silent_is_forgotten() -> None:
    honour = Honour()
    for nth in range(3 * OBJECTIVES_MAX):
        honour.answered(f"o-{nth}", 1, 0.0, float(nth))
        honour.answered("kept", 1, 0.0, float(nth))
    assert len(honour._tracks) == OBJECTIVES_MAX
    assert verdict(honour, "o-0") == "unconfirmed"
    assert honour.state("o-0").why == "no answer yet"
    fed(honour, "kept", 1, lambda nth: 0.0, answers=5 * SAMPLES_MAX, every_s=10.0, from_s=500.0)
    assert len(honour._tracks["kept"].answers) == SAMPLES_MAX
    honour.scraped(dict.fromkeys(range(10_000), 1.0), 9e9)
    assert len(honour._scrape[0] or {}) < 1000
