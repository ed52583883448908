"""Anthropic's errors: by type, by text where one type means many things, by status where nothing else is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic import AnthropicDialect
from adapters.anthropic_faults import fault_of
from adapters.dialect import WireHead

DATA = Path(__file__).parent / "data" / "recordings" / "anthropic"
pytestmark = pytest.mark.req("RUN-6")


def body(kind: str, message: str = "said so", code: str | None = None) -> bytes:
    error: dict[str, Any] = {"type": kind, "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "message", "code", "fault", "shown"),
    [
        (400, "invalid_request_error", "bad", None, "client", 400),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 5 maximum",
            None,
            "context_length",
            400,
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            None,
            "context_length",
            400,
        ),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            None,
            "content",
            400,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the API",
            None,
            "quota",
            429,
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits.",
            None,
            "quota",
            429,
        ),
        (401, "authentication_error", "invalid x-api-key", None, "auth", 502),
        (402, "billing_error", "pay", None, "quota", 429),
        (403, "permission_error", "no", None, "auth", 502),
        (404, "not_found_error", "model: x", None, "not_found", 502),
        (409, "conflict_error", "twice", None, "client", 409),
        (413, "request_too_large", "too large", None, "client", 413),
        (429, "rate_limit_error", "slow down", None, "rate_limit", 429),
        (429, "rate_limit_error", "growing too fast", "ramp_limit_exceeded", "rate_limit", 429),
        (429, "rate_limit_error", "enough", "enforced_spend_limit_reached", "quota", 429),
        (500, "api_error", "oops", None, "upstream_bug", 502),
        (503, "api_error", "keys", "cmek_context_unavailable", "unavailable", 503),
        (504, "timeout_error", "late", None, "timeout", 504),
        (529, "overloaded_error", "Overloaded", None, "overload", 503),
        (418, "a_new_error", "?", None, "client", 418),
    ],
)
def test_an_error_answer_is_classified_and_shown(
    status: int, kind: str, message: str, code: str | None, fault: str, shown: int
) -> None:
    error = fault_of(body(kind, message, code), status)
    assert (error.fault, error.status, error.upstream_status) == (fault, shown, status)
    assert fault == "auth" or error.message == message


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", "overload"),
        ("api_error", "upstream_bug"),
        ("rate_limit_error", "rate_limit"),
        ("timeout_error", "timeout"),
        ("invalid_request_error", "client"),
        ("a_new_error", "stream_broken"),
    ],
)
def test_an_error_inside_a_stream_is_judged_as_one_before_it(kind: str, fault: str) -> None:
    error = fault_of(body(kind), None)
    assert (error.fault, error.upstream_status) == (fault, None)


def test_what_is_too_large_keeps_its_own_code() -> None:
    assert fault_of(body("request_too_large"), 413).code == "request_too_large"


def test_a_rate_limit_tells_when_to_come_back() -> None:
    head = WireHead(status=429, headers={"retry-after": "7"})
    assert AnthropicDialect().fault(head, body("rate_limit_error")).retry_after_s == 7.0


def test_words_about_the_gateways_key_do_not_reach_clients() -> None:
    error = fault_of(body("authentication_error", "invalid x-api-key sk-ant-123"), 401)
    assert "sk-ant" not in error.message


def test_a_server_that_only_looks_alike_is_understood() -> None:
    raw = b'{"error":{"code":500,"message":"\'messages\' is required","type":"server_error"}}'
    error = fault_of(raw, 500)
    assert (error.fault, error.message) == ("upstream_bug", "'messages' is required")


@pytest.mark.parametrize(
    "path", sorted(p.name for p in DATA.glob("error_*.json") if "meta" not in p.name)
)
def test_a_recorded_error_keeps_its_message(path: str) -> None:
    raw = (DATA / path).read_bytes()
    status = json.loads((DATA / path.replace(".json", ".meta.json")).read_text())["status"]
    error = fault_of(raw, status)
    assert error.message == json.loads(raw)["error"]["message"]
    assert error.fault == "client"


@given(raw=st.binary(max_size=60), status=st.none() | st.sampled_from([400, 429, 500, 529]))
def test_any_body_is_a_fault(raw: bytes, status: int | None) -> None:
    assert fault_of(raw, status).message
