"""What an engine's error means, and what of it a client gets to see."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.dialect import WireHead
from adapters.openai import OpenAIDialect
from adapters.registry import dialect_for
from contracts.errors import UpstreamFault
from contracts.events import Fault

DATA = Path(__file__).parent / "data"
OPENAI = OpenAIDialect()

pytestmark = pytest.mark.req("RUN-6")


def fault(engine: str, status: int, body: bytes, **headers: str) -> UpstreamFault:
    return dialect_for(engine).fault(WireHead(status=status, headers=headers), body)


def error(message: str = "words", **members: Any) -> bytes:
    return json.dumps({"error": {"message": message, **members}}).encode()


CONTEXT = b'"This model\'s maximum context length is 1024 tokens. However, you requested 2000"'


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("status", "body", "kind", "shown", "code"),
    [
        (400, error(type="invalid_request_error"), "client", 400, "invalid_request"),
        (400, error(code="unsupported_value", param="p"), "client", 400, "unsupported_value"),
        (
            400,
            error(code="context_length_exceeded"),
            "context_length",
            400,
            "context_length_exceeded",
        ),
        (
            400,
            b'{"error":{"message":%b}}' % CONTEXT,
            "context_length",
            400,
            "context_length_exceeded",
        ),
        (400, error(code="content_policy_violation"), "content", 400, "content_policy_violation"),
        (400, error(code="content_filter"), "content", 400, "content_filter"),
        (401, error(code="invalid_api_key"), "auth", 502, "upstream_auth"),
        (401, b'{"error":"Unauthorized"}', "auth", 502, "upstream_auth"),
        (402, error(), "auth", 502, "upstream_auth"),
        (403, error(), "auth", 502, "upstream_auth"),
        (404, error(code="model_not_found"), "not_found", 502, "upstream_not_found"),
        (404, b'{"detail":"Not Found"}', "not_found", 502, "upstream_not_found"),
        (405, b'{"detail":"Method Not Allowed"}', "client", 405, "invalid_request"),
        (408, b"", "timeout", 504, "upstream_timeout"),
        (409, error(), "client", 409, "invalid_request"),
        (413, b"", "client", 413, "invalid_request"),
        (
            422,
            b'{"detail":[{"loc":["a"],"msg":"words"},{"msg":"b"}]}',
            "client",
            422,
            "invalid_request",
        ),
        (429, error(code="rate_limit_exceeded"), "rate_limit", 429, "rate_limit_exceeded"),
        (429, error(code="slow_down"), "rate_limit", 429, "slow_down"),
        (429, b"", "rate_limit", 429, "upstream_rate_limited"),
        (429, error(code="insufficient_quota"), "quota", 429, "insufficient_quota"),
        (429, error(type="insufficient_quota"), "quota", 429, "upstream_rate_limited"),
        (429, error(code="credit_balance_exhausted"), "quota", 429, "credit_balance_exhausted"),
        (
            429,
            error(code="project_spend_limit_exceeded"),
            "quota",
            429,
            "project_spend_limit_exceeded",
        ),
        (500, error(type="server_error"), "upstream_bug", 502, "upstream_error"),
        (500, b"<html>oops</html>", "upstream_bug", 502, "upstream_error"),
        (501, error(), "client", 400, "invalid_request"),
        (502, b"", "unavailable", 503, "upstream_unavailable"),
        (503, b"", "unavailable", 503, "upstream_unavailable"),
        (503, error(code="server_is_overloaded"), "overload", 503, "server_is_overloaded"),
        (504, b"", "timeout", 504, "upstream_timeout"),
        (529, error(type="overloaded_error"), "overload", 503, "upstream_unavailable"),
        (302, b"", "upstream_bug", 502, "upstream_error"),
    ],
)
def test_an_openai_error_answer_is_classified_and_shown_to_clients(status, body, kind, shown, code):
    found = fault("openai", status, body)
    assert (found.fault, found.status, found.code) == (kind, shown, code)
    assert found.upstream_status == status
    assert found.source == "engine"
    assert found.message
    assert "html" not in found.message
    shape = json.loads(found.encode("req-1"))["error"]
    assert {"message", "type", "param", "code", "source"} <= set(shape)
    assert isinstance(shape["code"], str)


@pytest.mark.parametrize(
    ("members", "kind", "shown", "code"),
    [
        ({"code": "rate_limit_exceeded"}, "rate_limit", 429, "rate_limit_exceeded"),
        (
            {"code": "rate_limit_exceeded", "type": "tokens"},
            "rate_limit",
            429,
            "rate_limit_exceeded",
        ),
        ({"type": "rate_limit_error"}, "rate_limit", 429, "upstream_rate_limited"),
        ({"code": "slow_down"}, "unavailable", 503, "slow_down"),
        (
            {"code": "invalid_api_key", "type": "invalid_request_error"},
            "auth",
            502,
            "upstream_auth",
        ),
        ({"type": "authentication_error"}, "auth", 502, "upstream_auth"),
        ({"type": "permission_error"}, "auth", 502, "upstream_auth"),
        (
            {"code": "model_not_found", "type": "invalid_request_error"},
            "not_found",
            502,
            "upstream_not_found",
        ),
        ({"type": "invalid_request_error"}, "client", 400, "invalid_request"),
        (
            {"type": "invalid_request_error", "code": "invalid_value"},
            "client",
            400,
            "invalid_value",
        ),
        ({"code": "server_is_overloaded"}, "overload", 503, "server_is_overloaded"),
        ({"type": "timeout_error"}, "timeout", 504, "upstream_timeout"),
        (
            {"type": "invalid_request_error", "code": "429"},
            "rate_limit",
            429,
            "upstream_rate_limited",
        ),
        ({"type": "server_error"}, "stream_broken", 502, "upstream_error"),
        ({}, "stream_broken", 502, "upstream_error"),
    ],
)
def test_an_error_inside_a_stream_is_judged_as_one_before_it(decode, members, kind, shown, code):
    (event,) = decode(OPENAI, [b"data: %b\n\n" % error(**members)])
    assert isinstance(event, Fault)
    found = event.error
    assert isinstance(found, UpstreamFault)
    assert (found.fault, found.status, found.code) == (kind, shown, code)
    assert found.upstream_status is None, "its answer's was 200"


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    "body", [b"", b"x" * 100, b"[[[[[", b'{"error":' * 3000, b'{"error":[]}', b"null"]
)
def test_an_unreadable_error_answer_is_classified_by_its_status(body):
    found = fault("openai", 500, body)
    assert (found.fault, found.message) == ("upstream_bug", "the engine answered 500")


@pytest.mark.req("RUN-6")
def test_a_deeply_nested_error_is_no_crash():
    body = b'{"error":' * 900 + b'"deep"' + b"}" * 900
    assert fault("openai", 500, body).fault == "upstream_bug"


@pytest.mark.req("RUN-6", "SEC-5")
def test_an_engines_words_about_the_gateways_key_do_not_reach_clients():
    body = error("Incorrect API key provided: sk-live-abc***xyz.", code="invalid_api_key")
    assert "sk-live" not in fault("openai", 401, body).encode().decode()


@pytest.mark.req("RUN-6")
def test_what_the_engine_says_about_its_error_is_passed_on():
    found = fault(
        "openai", 400, error("bad role", param="messages[0].role", code="unsupported_value")
    )
    assert (found.message, found.param, found.kind) == (
        "bad role",
        "messages[0].role",
        "invalid_request_error",
    )
    assert fault("openai", 400, b'{"error":"just text"}').message == "just text"
    assert fault("openai", 404, b'{"detail":"Not Found"}').message == "Not Found"
    assert fault("openai", 400, b'[{"error":{"message":"listed"}}]').message == "listed"


@pytest.mark.req("RUN-6")
def test_a_fault_carries_the_backends_retry_hint():
    assert fault("openai", 429, b"", **{"retry-after": "2"}).retry_after_s == 2


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    "path", [p.as_posix() for p in DATA.glob("recordings/*/error_*.json") if "meta" not in p.name]
)
def test_a_recorded_error_answer_keeps_its_message(path):
    body = Path(path).read_bytes()
    status = json.loads(Path(path).with_suffix(".meta.json").read_text())["status"]
    found = fault("openai", status, body)
    assert found.fault in ("client", "auth", "not_found")
    if found.fault != "auth":
        assert found.message == json.loads(body)["error"]["message"]
