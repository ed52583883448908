"""What is told of a task at each moment of its life."""

import pytest
from msgspec.structs import replace

from contracts.decision import Decision, Shaping
from contracts.errors import Cancelled, UpstreamFault
from contracts.events import Usage
from contracts.inference import Constraints, RequestFacts, Target
from gateway.progress import AttemptRecord, Progress
from gateway.tasks import views
from gateway.tasks.views import Clocks, Course, Subject
from policies.admission import Place

pytestmark = pytest.mark.req("RUN-4")
TARGET = Target(model="big", pool="p", upstream="up")
ATTEMPT = AttemptRecord(
    target=TARGET, engine="llamacpp", replica="p/1", version="b1", model_digest="d"
)
CLOCKS = Clocks(now_s=110.0, unix_s=1_000_010.0)


def subject(progress: Progress) -> Subject:
    return Subject(
        id="task_1",
        kind="task",
        facts=RequestFacts(operation="chat", model="asked", key="ada", session="s"),
        decision=Decision(
            intent="batch",
            shaping=Shaping(model="big"),
            models=("big",),
            constraints=Constraints(priority=-3),
            policy_version="v1",
        ),
        progress=progress,
        created_s=1_000_000.0,
        prompt_tokens=8,
        prompt_tokens_estimated=True,
    )


def test_one_that_waits() -> None:
    course = Course(state="queued", place=Place(3, 1.5))
    view = views.view(subject(Progress(accepted_s=100.0)), course, CLOCKS, last_event_id=1)
    assert (view.queue_position, view.predicted_start_ms) == (3, 1500)
    assert (view.prompt_tokens, view.prompt_tokens_estimated) == (8, True)
    assert (view.priority, view.intent, view.session_id) == (-3, "batch", "s")
    assert (view.started, view.ended, view.ttft_ms, view.queue_ms) == (None, None, None, None)
    assert view.age_s == 10.0
    assert view.created == "1970-01-12T13:46:40.000Z"


def test_an_unknown_wait_is_said_to_be_unknown() -> None:
    course = Course(state="queued", place=Place(3, None))
    assert course.predicted_start_ms is None
    assert Course(state="queued").queue_position is None


def test_one_that_streams() -> None:
    progress = Progress(
        accepted_s=100.0, target=TARGET, attempts=[ATTEMPT], dispatched_s=102.0, queue_s=2.0
    )
    course = Course(state="streaming", pieces=5, first_token_s=103.0, last_token_s=105.0)
    view = views.view(subject(progress), course, CLOCKS)
    assert (view.queue_position, view.predicted_start_ms) == (0, 0)
    assert (view.pool_id, view.replica_id, view.engine) == ("p", "p/1", "llamacpp")
    assert (view.queue_ms, view.ttft_ms, view.decode_time_ms) == (2000.0, 3000.0, 2000)
    assert view.tokens_per_s == 2.0
    assert view.started == "1970-01-12T13:46:42.000Z"
    assert view.tokens_out == 5
    assert view.usage is None
    assert view.attempts == ["running"], "nobody knows yet whether it is well"


def test_one_that_has_ended_keeps_its_age_and_has_the_engines_counts() -> None:
    progress = Progress(
        accepted_s=100.0, target=TARGET, attempts=[ATTEMPT], dispatched_s=102.0, ended_s=106.0
    )
    course = Course(
        state="cancelled",
        pieces=5,
        usage=Usage(prompt_tokens=9, completion_tokens=7),
        first_token_s=103.0,
        last_token_s=105.0,
        finish_reason="stop",
    )
    view = views.view(subject(progress), course, CLOCKS, error=Cancelled("no"))
    assert view.age_s == 6.0
    assert view.ended == "1970-01-12T13:46:46.000Z"
    assert (view.queue_position, view.predicted_start_ms) == (None, None)
    assert (view.tokens_out, view.tokens_per_s) == (7, 3.0)
    assert (view.prompt_tokens, view.prompt_tokens_estimated) == (9, False)
    assert view.error is not None
    assert view.error.code == "cancelled"
    assert view.attempts == ["cancelled"], "its engine did nothing wrong, and yet it is not whole"
    assert view.usage == {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}


def test_the_line_of_a_list_is_the_beginning_of_the_view() -> None:
    course = Course(state="queued", place=Place(1, 0.0))
    progress = Progress(accepted_s=100.0)
    line = views.summary(subject(progress), course, CLOCKS)
    view = views.view(subject(progress), course, CLOCKS)
    for field in line.__struct_fields__:
        assert getattr(line, field) == getattr(view, field)


def test_below_two_tokens_there_is_no_speed() -> None:
    course = Course(state="streaming", pieces=1, first_token_s=1.0, last_token_s=1.0)
    assert course.tokens_per_s is None
    assert course.decode_time_ms == 0


def test_of_several_attempts_each_says_what_became_of_it() -> None:
    failed, well = (replace(ATTEMPT, fault=fault, ended_s=103.0) for fault in ("connect", None))
    progress = Progress(accepted_s=100.0, attempts=[failed, well], ended_s=103.0)
    view = views.view(subject(progress), Course(state="succeeded"), CLOCKS)
    assert view.attempts == ["connect", "ok"]
    unreachable = Progress(accepted_s=100.0, attempts=[failed], ended_s=103.0)
    error = UpstreamFault("nobody listens")
    view = views.view(subject(unreachable), Course(state="failed"), CLOCKS, error=error)
    assert view.attempts == ["connect"]
