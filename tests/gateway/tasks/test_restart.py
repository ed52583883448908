"""What an earlier run left, as values."""

import pytest
from msgspec.structs import replace

from contracts.config import TaskSettings
from contracts.errors import Interrupted, InvalidField, TaskExpired
from gateway.tasks.restart import order_of, unrun_view
from gateway.tasks.store import StoredTask

pytestmark = pytest.mark.req("OPS-6")
STORED = StoredTask(
    task_id="task_1",
    caller="ada",
    operator=True,
    body=b'{"prompt":"a","model":"m","ttl":60,"priority":3}',
    headers={"x-a": "b"},
    idempotency_key="k",
    body_digest="",
    accepted_s=1000.0,
)


def test_it_is_the_same_order_again() -> None:
    order = order_of(STORED, models=["m"], settings=TaskSettings(), unix_s=1059.0)
    facts = order.infer.facts
    assert (facts.key, facts.model, facts.may_raise, facts.wait_s) == ("ada", "m", True, 60)
    assert facts.headers == {"x-a": "b"}
    assert order.accepted_unix_s == 1000.0
    assert order.idempotency_key == "k"


def test_the_time_while_the_gateway_was_down_counts() -> None:
    with pytest.raises(TaskExpired, match="61"):
        order_of(STORED, models=["m"], settings=TaskSettings(), unix_s=1061.0)


def test_what_todays_configuration_does_not_allow_is_refused() -> None:
    body = b'{"prompt":"a","ttl":"48h"}'
    with pytest.raises(InvalidField):
        order_of(replace(STORED, body=body), models=["m"], settings=TaskSettings(), unix_s=1000.0)


def test_one_that_does_not_run_here_looks_like_a_task_that_failed() -> None:
    view = unrun_view(STORED, Interrupted("was at work"), 1060.0)
    assert (view.id, view.state, view.key, view.model) == ("task_1", "failed", "ada", "m")
    assert view.created == "1970-01-01T00:16:40.000Z"
    assert view.age_s == 60
    assert view.last_event_id is None
    assert view.error is not None
    assert view.error.code == "interrupted"
    assert unrun_view(replace(STORED, body=b"broken"), Interrupted("x"), 0.0).model == ""
