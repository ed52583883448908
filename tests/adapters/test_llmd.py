"""Intents as llm-d's headers, and what llm-d says when it declines."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import AttemptContext, WireHead
from adapters.llmd import LlmdDialect, VllmDialect
from adapters.openai import OpenAIDialect
from contracts.errors import RETRIABLE, UpstreamFault
from contracts.events import Delta, End, Finish, Opened, Usage
from contracts.inference import Constraints

DATA = Path(__file__).parent / "data" / "transcripts"
LLMD, VLLM = LlmdDialect(), VllmDialect()
OK = WireHead(status=200, headers={})

pytestmark = pytest.mark.req("INT-8")


def headers(
    make_request,
    waited_s: float = 0.0,
    *,
    prefill_s: float | None = None,
    inference_ttl: bool = False,
    **wants: Any,
) -> dict[str, str]:
    attempt = AttemptContext(
        upstream_model="m",
        waited_s=waited_s,
        prefill_s=prefill_s,
        inference_ttl=inference_ttl,
        constraints=Constraints(**wants),
        api_key="k",
    )
    found = LLMD.request(make_request(), attempt).headers
    assert len(found) == len(dict(found))
    return dict(found)


PLAIN = {
    "content-type": "application/json",
    "accept": "text/event-stream",
    "x-request-id": "req-1",
    "authorization": "Bearer k",
}

# -- constraints ------------------------------------------------------------------------


def test_an_intent_becomes_llmds_headers(make_request):
    told = headers(
        make_request, 0.3, objective="interactive", fairness_id="team-a", ttft_s=0.8, tpot_s=0.05
    )
    assert told == PLAIN | {
        "x-llm-d-inference-objective": "interactive",
        "x-llm-d-inference-fairness-id": "team-a",
        "x-llm-d-slo-ttft-ms": "500",
        "x-llm-d-slo-tpot-ms": "50",
    }


def test_what_the_intent_does_not_ask_is_not_said(make_request):
    assert headers(make_request) == PLAIN
    assert headers(make_request, priority=5) == PLAIN


def test_without_a_key_no_credentials_are_sent(make_request):
    attempt = AttemptContext(upstream_model="m")
    assert "authorization" not in dict(LLMD.request(make_request(), attempt).headers)


@given(
    ttft_ms=st.integers(1, 100_000), waited_ms=st.integers(0, 200_000), tpot_ms=st.integers(0, 999)
)
def test_the_remaining_budget_is_a_whole_number_and_never_below_one(
    make_request, ttft_ms, waited_ms, tpot_ms
):
    told = headers(make_request, waited_ms / 1000, ttft_s=ttft_ms / 1000, tpot_s=tpot_ms / 1000)
    # llm-d's deadline ordering reads integers only: anything else counts as "no deadline".
    assert told["x-llm-d-slo-ttft-ms"] == str(max(1, ttft_ms - waited_ms))
    assert told["x-llm-d-slo-tpot-ms"] == str(max(1, tpot_ms))


@given(ttft_s=st.floats(0, 1e6), waited_s=st.floats(0, 1e6))
def test_any_budget_is_a_whole_number_and_never_more_than_what_remains(
    make_request, ttft_s, waited_s
):
    told = headers(make_request, waited_s, ttft_s=ttft_s)["x-llm-d-slo-ttft-ms"]
    assert told.isdecimal()
    assert 1 <= int(told) <= max(1, (ttft_s - waited_s) * 1000 + 1e-3)


TTL = "x-llm-d-inference-ttl"


def test_the_queue_gets_what_remains_after_the_prompt_is_read(make_request):
    told = headers(make_request, 0.3, prefill_s=0.25, inference_ttl=True, ttft_s=0.8)
    assert told[TTL] == "250ms"
    assert told["x-llm-d-slo-ttft-ms"] == "500"  # the objective itself is not shortened by it
    assert headers(make_request, 0.3, inference_ttl=True, ttft_s=0.8)[TTL] == "500ms"


def test_a_bound_for_the_queue_is_sent_only_where_it_is_read_and_something_was_promised(
    make_request,
):
    assert TTL not in headers(make_request, 0.3, prefill_s=0.1, ttft_s=0.8)
    assert TTL not in headers(make_request, inference_ttl=True, prefill_s=0.1, tpot_s=0.05)
    attempt = AttemptContext(
        upstream_model="m", inference_ttl=True, constraints=Constraints(ttft_s=0.8)
    )
    assert TTL not in dict(VLLM.request(make_request(), attempt).headers)


@given(
    ttft_s=st.floats(0, 1e9),
    waited_s=st.floats(0, 1e6),
    prefill_s=st.none() | st.just(float("nan")) | st.floats(0),
)
def test_a_bound_for_the_queue_is_a_duration_in_go_and_never_more_than_what_remains(
    make_request, ttft_s, waited_s, prefill_s
):
    told = headers(make_request, waited_s, prefill_s=prefill_s, inference_ttl=True, ttft_s=ttft_s)
    found = re.fullmatch("([1-9][0-9]*)ms", told[TTL])
    assert found
    assert 1 <= int(found[1]) <= 86_400_000
    assert int(found[1]) <= int(told["x-llm-d-slo-ttft-ms"])
    if prefill_s is not None and prefill_s >= ttft_s:
        assert found[1] == "1"


@pytest.mark.parametrize("dialect", [LLMD, VLLM])
@pytest.mark.parametrize("operation", ["chat", "completion", "embedding"])
@given(priority=st.integers(-(2**70), 2**70).filter(bool))
def test_a_priority_turns_its_sign_in_the_body_of_who_schedules_by_it(
    make_request, dialect, operation, priority
):
    attempt = AttemptContext(
        upstream_model="m",
        priority_scheduling=True,
        constraints=Constraints(priority=priority),
    )
    told = json.loads(dialect.request(make_request(operation, priority=7), attempt).body)[
        "priority"
    ]
    assert told == max(1 - 2**63, min(-priority, 2**63 - 1))


def test_without_priority_scheduling_no_body_has_a_priority(make_request):
    """A vLLM that does not schedule by it may refuse any but 0."""
    for scheduling, priority in ((False, 5), (False, -5), (True, 0)):
        attempt = AttemptContext(
            upstream_model="m",
            priority_scheduling=scheduling,
            constraints=Constraints(priority=priority),
        )
        for dialect in (LLMD, VLLM):
            wire = dialect.request(make_request(priority=-7), attempt)
            assert b"priority" not in wire.body


# -- how long it waited there -----------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0", 0.0),
        ("850", 0.85),
        ("120000", 120.0),
        ("", None),
        ("-1", None),
        ("8.5", None),
        ("+8", None),
        (" 8", None),
        ("8ms", None),
        ("8, 9", None),  # the header came twice
        ("1_0", None),
        ("٣", None),
        ("9" * 13, None),
    ],
)
def test_the_wait_in_llmds_queue_is_a_whole_number_of_milliseconds(told, seconds):
    head = WireHead(status=200, headers={"x-llm-d-flow-queue-duration-ms": told})
    assert LLMD.queue_s(head) == seconds
    assert VLLM.queue_s(head) is None
    assert OpenAIDialect().queue_s(head) is None


def test_without_flow_control_there_is_no_wait_to_tell():
    assert LLMD.queue_s(OK) is None


@given(told=st.text())
def test_any_header_is_a_wait_or_none(told):
    found = LLMD.queue_s(WireHead(status=200, headers={"x-llm-d-flow-queue-duration-ms": told}))
    assert found is None or found >= 0


@pytest.mark.parametrize("dialect", [LLMD, VLLM])
def test_a_clients_own_headers_never_reach_the_backend(make_request, dialect):
    infer = make_request()
    secrets = {
        "x-llm-d-inference-objective": "critical",
        "x-gateway-inference-fairness-id": "other",
        "x-gateway-destination-endpoint-subset": "10.0.0.1",
        "cookie": "session",
        "x-team": "nightly",
    }
    facts = msgspec.structs.replace(infer.facts, headers=secrets, key="caller", user="someone")
    infer = msgspec.structs.replace(infer, facts=facts)
    wire = dialect.request(infer, AttemptContext(upstream_model="m", api_key="k"))
    assert dict(wire.headers) == PLAIN


# -- declined, and failed ---------------------------------------------------------------


def declined(
    status: int, text: str, reason: str | None = None, dialect: VllmDialect = LLMD
) -> UpstreamFault:
    found = {"content-type": "text/plain"}
    if reason is not None:
        found["x-llm-d-request-dropped-reason"] = reason
    return dialect.fault(WireHead(status=status, headers=found), text.encode())


EXHAUSTED = "inference error: ResourceExhausted - "
UNAVAILABLE = "inference error: ServiceUnavailable - "


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("status", "text", "reason", "fault", "shown"),
    [
        (
            429,
            f"{EXHAUSTED}request rejected pre-queue: queue at capacity",
            "rejected-saturated",
            "overload",
            429,
        ),
        (
            503,
            f"{UNAVAILABLE}no endpoints available: request rejected pre-queue: no endpoints available",
            "rejected-no-endpoints",
            "unavailable",
            503,
        ),
        (
            429,
            f"{EXHAUSTED}request timed out in queue: request evicted from queue: request TTL expired",
            "rejected-ttl-expired",
            "overload",
            429,
        ),
        (503, f"{UNAVAILABLE}request timed out in queue", "rejected-ttl-expired", "overload", 503),
        (
            503,
            f"{UNAVAILABLE}client disconnected: x",
            "rejected-context-cancelled",
            "unavailable",
            503,
        ),
        (
            503,
            f"{UNAVAILABLE}flow controller shutting down: x",
            "rejected-shutting-down",
            "unavailable",
            503,
        ),
        (
            429,
            f"{EXHAUSTED}no endpoints available for the given request",
            "rejected-saturated",
            "overload",
            429,
        ),
        (
            503,
            f"{UNAVAILABLE}failed to find endpoint candidates",
            "rejected-no-endpoints",
            "unavailable",
            503,
        ),
        (429, f"{EXHAUSTED}system saturated, sheddable request dropped", None, "overload", 429),
        (429, f"{EXHAUSTED}request evicted by flow control", "evicted", "overload", 429),
        (429, "", "evicted-priority", "overload", 429),
        (429, "", "evicted-queue-pressure", "overload", 429),
        (
            500,
            "inference error: Internal - request cannot be admitted: no headroom",
            None,
            "slo_shed",
            503,
        ),
        (500, "inference error: Internal - something broke", None, "upstream_bug", 502),
        (503, "no healthy upstream", None, "unavailable", 503),
        (400, "inference error: BadRequest - model not found in request body", None, "client", 400),
        (412, "inference error: PreconditionFailed - prefix", None, "client", 412),
        (400, "inference error: x", "some-new-reason", "client", 400),
    ],
)
def test_a_refusal_in_plain_text_is_understood(status, text, reason, fault, shown):
    found = declined(status, text, reason)
    assert (found.fault, found.status, found.upstream_status) == (fault, shown, status)
    assert found.retriable == (fault in RETRIABLE)
    if text.startswith("inference error: "):
        assert found.message == text.removeprefix("inference error: ")
    json.loads(found.encode("req-1"))


@pytest.mark.req("RUN-6")
def test_the_drop_reason_is_the_code_that_clients_see():
    found = declined(429, "", "rejected-ttl-expired")
    assert (found.code, found.kind) == ("rejected_ttl_expired", "rate_limit_error")
    assert found.message == "rejected-ttl-expired"


@pytest.mark.req("RUN-6")
def test_a_decline_for_the_objective_is_no_fault_of_the_engine():
    found = declined(500, "inference error: Internal - request cannot be admitted: x")
    assert found.fault == "slo_shed"
    # For a bare vLLM the same words are nothing special.
    assert declined(500, "request cannot be admitted", dialect=VLLM).fault == "upstream_bug"


@pytest.mark.req("RUN-6")
def test_a_long_plain_text_is_cut():
    assert len(declined(500, "inference error: " + "x" * 60_000).message) <= 1000


@pytest.mark.req("RUN-6")
def test_a_retry_hint_is_kept_beside_the_drop_reason():
    head = WireHead(
        status=429,
        headers={"x-llm-d-request-dropped-reason": "rejected-saturated", "retry-after": "3"},
    )
    assert LLMD.fault(head, b"").retry_after_s == 3


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("dialect", [LLMD, VLLM])
@pytest.mark.parametrize(
    ("status", "body", "fault", "shown"),
    [
        (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 1024 tokens. However, ...",
                    "type": "BadRequestError",
                    "param": "input_tokens",
                    "code": 400,
                }
            },
            "context_length",
            400,
        ),
        (
            400,
            {
                "error": {
                    "message": "max_tokens must be at least 1",
                    "type": "BadRequestError",
                    "code": 400,
                }
            },
            "client",
            400,
        ),
        (401, {"error": "Unauthorized"}, "auth", 502),
        (
            404,
            {"error": {"message": "The model `nope` does not exist.", "code": 404}},
            "not_found",
            502,
        ),
        (404, {"detail": "Not Found"}, "not_found", 502),
        (
            500,
            {"error": {"message": "x", "type": "InternalServerError", "code": 500}},
            "upstream_bug",
            502,
        ),
        (
            503,
            {
                "error": {
                    "message": "The engine is currently busy",
                    "type": "Service Unavailable",
                    "code": 503,
                }
            },
            "overload",
            503,
        ),
        (
            429,
            {"error": {"message": "queue is full", "type": "RateLimitError", "code": 429}},
            "overload",
            429,
        ),
    ],
)
def test_vllms_own_errors_are_understood_behind_llmd_too(dialect, status, body, fault, shown):
    found = dialect.fault(WireHead(status=status, headers={}), json.dumps(body).encode())
    assert (found.fault, found.status) == (fault, shown)
    assert isinstance(json.loads(found.encode())["error"]["code"], str)


# -- streams and state ------------------------------------------------------------------


@pytest.mark.req("RUN-3")
def test_a_stream_of_a_real_vllm_is_complete(decode, normalise):
    body = (DATA / "vllm_chat_usage.sse").read_bytes()
    opened, *deltas, finish, report, end = normalise(decode(LLMD, [body]))
    assert opened == Opened()
    assert deltas == [Delta(content=text) for text in ("The", " capital", " of", " France")]
    assert finish == Finish(reason="length")
    assert report.usage == Usage(prompt_tokens=37, completion_tokens=4)
    assert end == End()


def test_a_limit_goes_under_the_name_that_vllm_knows(make_request):
    wire = VLLM.request(make_request(), AttemptContext(upstream_model="m", max_tokens=5))
    assert json.loads(wire.body)["max_tokens"] == 5


MODELS = (OK, b'{"object":"list","data":[{"id":"smol"}]}')


@pytest.mark.parametrize(
    ("answers", "live", "ready", "version"),
    [
        (
            {"/health": (OK, b""), "/v1/models": MODELS, "/version": (OK, b'{"version":"0.32.0"}')},
            True,
            True,
            "0.32.0",
        ),
        ({"/health": (OK, b""), "/v1/models": MODELS}, True, True, None),
        (
            {"/health": (OK, b""), "/v1/models": MODELS, "/version": (OK, b"\xff[")},
            True,
            True,
            None,
        ),
        (
            {"/health": (WireHead(status=404, headers={}), b""), "/v1/models": MODELS},
            True,
            True,
            None,
        ),
        (
            {"/health": (WireHead(status=503, headers={}), b""), "/v1/models": MODELS},
            True,
            False,
            None,
        ),
        (
            {"/health": (OK, b""), "/v1/models": (WireHead(status=503, headers={}), b"")},
            True,
            False,
            None,
        ),
        ({"/health": (OK, b"")}, False, False, None),
        ({}, False, False, None),
    ],
)
def test_readiness_is_health_and_a_model_list(answers, live, ready, version):
    assert set(answers) <= set(LLMD.probes())
    state = LLMD.state(answers)
    assert (state.live, state.ready, state.version) == (live, ready, version)
    assert state.models == (("smol",) if ready else ())


@pytest.mark.req("ENG-1")
@pytest.mark.parametrize(
    ("lengths", "context"),
    [
        ([1024], 1024),
        ([1024, 1024], 1024),
        ([1024, 2048], None),
        ([None], None),
        ([-1], None),
        ([], None),
    ],
)
def test_the_context_is_what_its_models_have_in_common(lengths, context):
    data = [{"id": f"m{n}", "max_model_len": length} for n, length in enumerate(lengths)]
    listed = (OK, msgspec.json.encode({"data": data}))
    assert VLLM.state({"/health": (OK, b""), "/v1/models": listed}).context == context
