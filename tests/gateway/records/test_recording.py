"""What is recorded of a request."""

import json

import msgspec
import pytest

from contracts.catalog import Catalog
from contracts.decision import Decision, Rejection, Shaping
from contracts.errors import (
    Cancelled,
    GatewayError,
    InvalidField,
    NoReadyBackend,
    QueueFull,
    StreamBroken,
)
from contracts.events import Delta, Event, Finish, ToolCallDelta, Usage
from contracts.inference import RoutingPlan
from gateway.records.kept import Kept, Room
from gateway.records.recording import COUNT_MAX, Closed, Recorder, outcome
from gateway.records.rows import Recorded
from gateway.secrets import Redactor, SecretValue
from tests.fakes.closed import (
    CATALOG,
    DECISION,
    FACTS,
    INFER,
    TARGET,
    attempt,
    closed,
    kept,
    progress,
    recorded,
    resolved,
)

GUESSED = Usage(prompt_tokens=90, completion_tokens=120, estimated=True)
REDACT = Redactor([SecretValue("hunter22")]).redact


def rows(closed: Closed) -> Recorded:
    return recorded(closed, REDACT)


@pytest.mark.req("RUN-7", "RUN-8")
def test_an_execution_holds_its_plan_and_what_it_cost() -> None:
    execution = rows(closed()).execution
    assert json.loads(execution.routing_snapshot or "")["targets"][0]["model"] == "assistant"
    assert json.loads(execution.actual_cost or "") == {
        "usage": {"prompt_tokens": 90, "completion_tokens": 120},
        "usd": 0.00015,
    }
    assert execution.cost_usd == 0.00015
    assert json.loads(execution.decision)["intent"] == "interactive"
    assert json.loads(execution.facts)["headers"]["x-stainless-lang"] == "python"
    assert (execution.caller, execution.model, execution.status) == ("web", "assistant", 200)


def test_times_are_unix_times_and_seconds_since_then() -> None:
    recorded = rows(closed(ended_s=103.25, wall_s=1_800_000_003.25))
    execution, (tried,) = recorded.execution, recorded.attempts
    assert execution.accepted_s == 1_800_000_000.0
    assert (execution.queue_s, execution.ttft_s, execution.e2e_s) == (0.5, 1.0, 3.25)
    assert (tried.dispatched_s, tried.first_token_s, tried.ended_s) == (0.5, 1.0, 3.0)


@pytest.mark.req("RUN-8")
def test_every_attempt_has_a_row_in_its_order() -> None:
    tries = [attempt(fault="overload", status=529, usage=None, first_token_s=None), attempt()]
    recorded = rows(closed(progress=progress(attempts=tries)))
    assert [(a.ordinal, a.fault, a.status) for a in recorded.attempts] == [
        (1, "overload", 529),
        (2, None, None),
    ]
    assert {a.execution_id for a in recorded.attempts} == {recorded.execution.execution_id}


def test_no_two_records_have_the_same_id() -> None:
    one, other = Recorder(resolved, REDACT), Recorder(resolved, REDACT)
    ids = [maker.rows(closed()).execution.execution_id for maker in (one, one, other, other)]
    assert len(set(ids)) == 4


def test_an_unknown_cost_is_not_zero() -> None:
    unpriced = msgspec.structs.replace(CATALOG.models["assistant"], output_price=None)
    for unknown in (
        closed(catalog=Catalog()),
        closed(catalog=Catalog(models={"assistant": unpriced})),
        closed(progress=progress(usage=None, attempts=[attempt(usage=None)])),
        closed(progress=progress(attempts=[attempt(usage=None), attempt()])),
        closed(progress=progress(attempts=[attempt(usage=GUESSED), attempt()])),
        closed(progress=progress(attempts=[])),
    ):
        execution = rows(unknown).execution
        assert execution.cost_usd is None
        assert json.loads(execution.actual_cost or "")["usd"] is None


def test_a_cost_is_that_of_all_attempts() -> None:
    failed = attempt(usage=None, first_token_s=None, fault="overload")
    broken = attempt(usage=Usage(prompt_tokens=90, completion_tokens=10), fault="stream_broken")
    tried = progress(attempts=[failed, broken, attempt()])
    assert rows(closed(progress=tried)).execution.cost_usd == 0.000212


@pytest.mark.req("RUN-8")
def test_one_that_broke_off_has_the_tokens_of_the_attempt_that_its_client_saw() -> None:
    lost = attempt(fault="overload", usage=None, first_token_s=None)
    seen = attempt(usage=GUESSED)
    beside = attempt(usage=Usage(prompt_tokens=90, completion_tokens=7), first_token_s=102.5)
    cut = closed(
        status=499,
        outcome="cancelled",
        progress=progress(usage=None, attempts=[lost, seen, beside]),
    )
    execution = rows(cut).execution
    assert (execution.prompt_tokens, execution.completion_tokens) == (90, 120)
    assert execution.cost_usd is None
    assert json.loads(execution.actual_cost or "")["usage"]["estimated"]
    nothing = progress(usage=None, first_token_s=None, attempts=[lost])
    assert rows(closed(progress=nothing)).execution.completion_tokens is None


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (200, None, "completed"),
        (499, None, "cancelled"),
        (499, Cancelled(""), "cancelled"),
        (200, Cancelled(""), "cancelled"),
        (429, QueueFull(""), "refused"),
        (400, InvalidField(""), "invalid"),
        (502, StreamBroken(""), "failed"),
        (200, StreamBroken(""), "failed"),
        (500, GatewayError(""), "failed"),
    ],
)
def test_the_outcome_says_who_ended_it(
    status: int, error: GatewayError | None, expected: str
) -> None:
    assert outcome(status, error) == expected


def test_what_was_refused_or_cannot_be_served_has_no_plan() -> None:
    rejected = msgspec.structs.replace(
        DECISION, shaping=Shaping(model="assistant", reject=Rejection(message="no"))
    )
    assert rows(closed(decision=rejected)).execution.routing_snapshot is None

    def nobody(decision: Decision, catalog: Catalog) -> RoutingPlan:
        raise NoReadyBackend("")

    assert Recorder(nobody, REDACT).rows(closed()).execution.routing_snapshot is None


def test_bodies_are_there_only_if_they_were_taken() -> None:
    assert rows(closed()).execution.body is None
    body = rows(closed(kept=kept())).execution.body
    assert body == b'{"model":"assistant","messages":[{"role":"user"}]}'


@pytest.mark.req("RUN-8")
@pytest.mark.parametrize(
    "odd",
    [b'"\\ud800"', b"1e999", b"-1e999", b'"\xff"', b"[" * 100_000 + b"]" * 100_000],
    ids=["surrogate", "inf", "minus_inf", "no_utf8", "deep"],
)
@pytest.mark.parametrize("beside", [b"", b'"\\u0041",'], ids=["alone", "to_be_cleaned"])
def test_a_body_that_cannot_be_kept_costs_the_body_at_most(odd: bytes, beside: bytes) -> None:
    members = {"prompt": msgspec.Raw(b"[" + beside + odd + b"]")}
    execution = rows(closed(kept=kept(members, [Delta(content="Hi")]))).execution
    assert execution.status == 200
    assert json.loads(execution.answer or b"")["choices"][0]["content"] == "Hi"
    if execution.body is None:
        assert execution.body_missing == "unreadable"
    else:
        assert execution.body == b'{"prompt":[' + odd + b"]}"


@pytest.mark.req("RUN-8")
def test_an_answer_that_cannot_be_kept_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    left = kept(events=[Delta(content="Hi")])
    monkeypatch.setattr(left.answer, "told", lambda: object())
    execution = rows(closed(kept=left)).execution
    assert json.loads(execution.answer or b"") == {"choices": [], "truncated": True}
    assert execution.body is not None


def test_a_record_says_why_a_body_is_not_there() -> None:
    full = Kept(INFER, Room(0))
    assert rows(closed(kept=full)).execution.body_missing == "no_room"
    assert rows(closed(kept=kept())).execution.body_missing is None
    assert rows(closed()).execution.body_missing is None


def test_an_answer_is_there_as_far_as_it_came() -> None:
    said: list[Event] = [Delta(content="Hel"), Delta(content="lo"), Finish(reason="stop")]
    said += [
        Delta(
            choice=1, tool_calls=(ToolCallDelta(index=0, id="c1", name="look", arguments='{"a":'),)
        ),
        Delta(choice=1, tool_calls=(ToolCallDelta(index=0, arguments="1}"),)),
    ]
    answer = rows(closed(kept=kept(events=said))).execution.answer
    assert json.loads(answer or b"") == {
        "choices": [
            {"index": 0, "content": "Hello", "finish_reason": "stop"},
            {"index": 1, "tool_calls": [{"id": "c1", "name": "look", "arguments": '{"a":1}'}]},
        ]
    }
    assert rows(closed(kept=kept())).execution.answer is None


def test_a_request_in_another_language_is_there_as_its_client_wrote_it() -> None:
    native = {"anthropic": {"system": msgspec.Raw(b'"Be brief."')}}
    execution = rows(closed(kept=kept(native=native))).execution
    assert json.loads(execution.native or b"") == {"anthropic": {"system": "Be brief."}}
    assert rows(closed(kept=kept())).execution.native is None


@pytest.mark.req("SEC-3")
def test_no_secret_gets_into_a_record() -> None:
    facts = msgspec.structs.replace(
        FACTS, key="a hunter22", model="hunter22", user="hunter22", headers={"x": "Bearer hunter22"}
    )
    decision = msgspec.structs.replace(DECISION, intent="interactive", models=("hunter22",))
    members = {"prompt": msgspec.Raw(b'"my token is hunter22"')}
    tries = [attempt(fault="says hunter22", version="hunter22", model_digest="hunter22")]
    recorded = rows(
        closed(
            facts=facts,
            decision=decision,
            kept=kept(members, [Delta(content="it is hun"), Delta(content="ter22")]),
            progress=progress(attempts=tries),
            error_code="hunter22",
        )
    )
    assert "hunter22" not in repr(recorded)


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("member", ["version", "model_digest", "fault"])
def test_nothing_that_an_engine_says_of_itself_hides_a_secret(member: str) -> None:
    tries = [attempt(), attempt(**{member: "says hunter22"})]
    assert "hunter22" not in repr(rows(closed(progress=progress(attempts=tries))))


@pytest.mark.req("SEC-3")
def test_neither_an_errors_code_nor_a_models_name_hides_a_secret() -> None:
    assert "hunter22" not in repr(rows(closed(error_code="hunter22")))
    served = attempt(target=msgspec.structs.replace(TARGET, upstream="hunter22"))
    assert "hunter22" not in repr(rows(closed(progress=progress(attempts=[served]))).attempts)


def test_what_only_looks_like_a_secret_beside_another_text_stays_as_it_is() -> None:
    tried = attempt(version="Bearer", model_digest="token", fault="overload")
    (row,) = rows(closed(progress=progress(attempts=[tried]))).attempts
    assert (row.engine_version, row.model_digest, row.fault) == ("Bearer", "token", "overload")


@pytest.mark.req("OPS-4")
def test_what_a_record_quotes_is_searched_once_and_what_comes_again_no_more() -> None:
    searched: list[str] = []

    def redact(text: str) -> str:
        searched.append(text)
        return text

    tries = [attempt(fault="overload"), attempt(version="0.12.0")]
    recorder = Recorder(resolved, redact)
    recorder.rows(closed())
    searched.clear()
    recorder.rows(closed(progress=progress(attempts=tries)))
    (together,) = searched
    assert set(together.split("\n")) == {"overload", "0.12.0"}


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("field", [f.name for f in msgspec.structs.fields(FACTS)])
def test_no_fact_hides_a_secret(field: str) -> None:
    """Nor does one that is added some day."""
    match getattr(FACTS, field):
        case str():
            odd: object = "hunter22"
        case dict():
            odd = {"hunter22": "x", "x": "hunter22"}
        case _:
            return
    recorder = Recorder(resolved, REDACT)
    recorder.rows(closed())
    facts = msgspec.structs.replace(FACTS, **{field: odd})
    if field != "operation":  # one of a few words of ours
        assert "hunter22" not in repr(recorder.rows(closed(facts=facts)))


def test_the_size_counts_what_is_kept() -> None:
    small = rows(closed()).execution.row_bytes
    large = rows(closed(kept=kept({"prompt": msgspec.Raw(b'"' + b"a" * 5000 + b'"')})))
    assert 5000 < large.execution.row_bytes - small < 5100


@pytest.mark.parametrize("told", [2**31, 2**40, 2**64 - 1])
def test_what_an_engine_says_of_its_tokens_fits_into_a_column(told: int) -> None:
    absurd = Usage(prompt_tokens=told, completion_tokens=told)
    recorded = rows(closed(progress=progress(usage=absurd, attempts=[attempt(usage=absurd)])))
    counts = {recorded.execution.prompt_tokens, recorded.execution.completion_tokens}
    counts |= {recorded.attempts[0].prompt_tokens, recorded.attempts[0].completion_tokens}
    assert counts == {COUNT_MAX}
