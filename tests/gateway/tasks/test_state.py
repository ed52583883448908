"""The states of one task: whatever happens in whichever order."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis.strategies import lists, sampled_from

from contracts.tasks import ENDED, TaskState
from gateway.tasks.state import TaskStep, step

pytestmark = pytest.mark.req("RUN-4", "ADM-3")
STEPS: list[TaskStep] = list(get_args(TaskStep))
ENDS: dict[TaskStep, TaskState] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "failed",
}


def after(*steps: TaskStep) -> list[TaskState]:
    """Every state that a new task was in, one after the other."""
    states: list[TaskState] = ["queued"]
    for what in steps:
        state = step(states[-1], what)
        if state is not None:
            states.append(state)
    return states


@given(lists(sampled_from(STEPS)))
def test_it_ends_at_most_once_and_stays_what_it_is(steps: list[TaskStep]) -> None:
    states = after(*steps)
    assert sum(state in ENDED for state in states) <= 1
    assert all(state not in ENDED for state in states[:-1])


@given(lists(sampled_from(STEPS)), sampled_from(["succeeded", "failed", "cancelled"]))
def test_whatever_happened_before_it_can_be_ended(steps: list[TaskStep], end: TaskStep) -> None:
    assert after(*steps, end)[-1] in ENDED


@given(lists(sampled_from(STEPS)))
def test_after_the_first_token_it_never_waits_again(steps: list[TaskStep]) -> None:
    states = after(*steps)
    if "streaming" in states:
        later = states[states.index("streaming") :]
        assert set(later) <= {"streaming", *ENDED}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_is_the_state_of_its_name(end: TaskStep) -> None:
    assert step("queued", end) == ENDS[end]


def test_the_usual_course() -> None:
    assert after("offered", "dispatched", "token", "token", "succeeded") == [
        "queued",
        "queued",
        "starting",
        "streaming",
        "streaming",
        "succeeded",
    ]


def test_a_retry_that_has_to_queue_again_is_queued_again() -> None:
    assert after("offered", "dispatched", "offered")[-1] == "queued"


def test_once_it_is_dispatched_its_time_to_start_is_not_over_any_more() -> None:
    assert step("starting", "expired") is None
    assert step("streaming", "expired") is None
