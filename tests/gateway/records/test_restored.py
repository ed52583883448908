"""A recorded execution as it can be carried out again."""

from typing import Any

import msgspec
import pytest

from contracts.events import Delta, Event, Finish
from gateway.records.restored import Unreplayable, restored
from gateway.secrets import Redactor, SecretValue
from tests.fakes.closed import DECISION, FACTS, INFER, closed, kept, recorded, resolved

SAID: list[Event] = [Delta(content="Hello"), Finish(reason="stop")]


def row(**members: Any) -> dict[str, Any]:
    """As it comes from the database: JSON columns are values."""
    redact = Redactor([SecretValue("hunter22")]).redact
    written = recorded(closed(**members), redact).execution
    found = msgspec.structs.asdict(written)
    for name in ("facts", "decision", "routing_snapshot", "actual_cost"):
        found[name] = None if found[name] is None else msgspec.json.decode(found[name])
    return found


@pytest.mark.req("RUN-9")
def test_request_decision_and_plan_are_those_of_the_record() -> None:
    native = {"anthropic": {"system": msgspec.Raw(b'"Be brief."')}}
    again = restored(row(kept=kept(events=SAID, native=native)), "req_new")
    assert again.infer == msgspec.structs.replace(INFER, request_id="req_new", native=native)
    assert (again.infer.facts, again.decision) == (FACTS, DECISION)
    assert again.plan == resolved(DECISION, closed().catalog)
    assert again.answer is not None
    assert again.answer.choices[0].content == "Hello"
    assert again.notes == ()


def test_values_that_a_plan_sets_stay_as_they_are() -> None:
    found = row(kept=kept(events=SAID))
    found["routing_snapshot"]["overrides"] = {"temperature": 0.25, "stop": ["a"]}
    plan = restored(found, "r").plan
    assert plan is not None
    assert plan.overrides == {"temperature": msgspec.Raw(b"0.25"), "stop": msgspec.Raw(b'["a"]')}


def test_one_that_was_refused_has_no_plan_and_one_that_failed_no_answer() -> None:
    found = row(kept=kept())
    found |= {"routing_snapshot": None, "completion_tokens": None}
    again = restored(found, "r")
    assert (again.plan, again.answer) == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body": None}, r"records\.bodies was not true at the time"),
        ({"body": None, "body_missing": "too_large"}, "more than 4 MiB"),
        ({"body": None, "body_missing": "no_room"}, "too many were waiting"),
        ({"body": None, "body_missing": "unreadable"}, "could not be read again"),
        ({"body": None, "body_missing": "of_a_newer_version"}, "of_a_newer_version"),
        ({"body": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"}, "nested too deep"),
        ({"operation": "embedding"}, "it is an embedding"),
        ({"answer": None}, "but not its answer"),
        ({"decision": {}}, "of another version of Setpoint: Object missing required field"),
    ],
)
def test_what_a_record_lacks_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Unreplayable, match=message):
        restored(row(kept=kept(events=SAID)) | changes, "r")


@pytest.mark.req("SEC-3")
def test_a_prompt_whose_secret_was_taken_out_is_told_of() -> None:
    members = {**INFER.members, "user": msgspec.Raw(b'"hunter22"')}
    again = restored(row(kept=kept(members, SAID)), "r")
    assert again.notes == (
        "a secret in the request may have been recorded as ***, and is asked as that",
    )
