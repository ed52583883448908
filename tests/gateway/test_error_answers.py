"""What an error tells its client, and what it keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import (
    BudgetExceeded,
    DeadlineUnreachable,
    GatewayError,
    MissingToken,
    QueueFull,
    RejectedByPolicy,
    ShedByIntent,
    TooManyConnections,
    UpstreamFault,
)
from gateway.error_answers import BACKEND, Discretion, headers_of
from gateway.secrets import Redactor, SecretValue

SECRET = "upstream-secret-1"
ENDPOINTS = ("http://vllm-0.internal:8000", "http://10.0.0.7:8000/base", "http://llama:8080")
discreet = Discretion(Redactor([SecretValue(SECRET)]), ENDPOINTS)


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"key {SECRET} refused", "key *** refused"),
        ("Bearer abcdef is wrong", "Bearer *** is wrong"),
        ("cannot reach http://10.0.0.7:8000/base/v1", f"cannot reach {BACKEND}/v1"),
        ("10.0.0.7 is gone", f"{BACKEND} is gone"),
        ("vllm-0.internal:8000 reset", f"{BACKEND} reset"),
        ("llama:8080 is busy", f"{BACKEND} is busy"),
        ("the llama model is busy", "the llama model is busy"),
    ],
)
def test_secrets_and_addresses_are_taken_out(said: str, shown: str) -> None:
    fault = UpstreamFault(said, code=said, param=said, status=400)
    discreet.presentable(fault)
    assert (fault.message, fault.code, fault.param) == (shown, shown, shown)


@given(st.text(), st.sampled_from([SECRET, *ENDPOINTS, "10.0.0.7"]), st.text())
def test_whatever_stands_around_them(before: str, hidden: str, after: str) -> None:
    told = discreet.presentable(GatewayError(before + hidden + after)).message
    assert hidden not in told.removeprefix(before).removesuffix(after)


@pytest.mark.req("RUN-6")
def test_a_failed_backend_is_named_by_pool_and_number_once() -> None:
    fault = UpstreamFault("it is silent", where="pool a, endpoint 2")
    for _ in range(2):
        discreet.presentable(fault)
    assert fault.message == "pool a, endpoint 2: it is silent"


def test_a_fault_of_the_client_names_no_backend() -> None:
    fault = UpstreamFault("top_k is wrong", where="pool a, endpoint 2", status=400)
    assert discreet.presentable(fault).message == "top_k is wrong"


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (QueueFull("full", retry_after_s=0.0004), ("1", "1", None)),
        (QueueFull("full", retry_after_s=2.1), ("3", "2100", None)),
        (QueueFull("full", retry_after_s=9e9), ("120", "120000", None)),
        (RejectedByPolicy("no"), ("1", "1000", None)),
        (DeadlineUnreachable("late"), ("1", "1000", None)),
        (DeadlineUnreachable("late", retry_after_s=2.5), ("3", "2500", None)),
        (ShedByIntent("shed", retry_after_s=10.0), ("10", "10000", None)),
        (TooManyConnections("full", retry_after_s=5.0), ("5", "5000", None)),
        (UpstreamFault("x", status=503), ("1", "1000", None)),
        (UpstreamFault("x", status=503, retry_after_s=4), ("4", "4000", None)),
        (UpstreamFault("x", status=429, fault="rate_limit"), ("1", "1000", None)),
        (UpstreamFault("x", status=429, fault="quota"), (None, None, "false")),
        (
            UpstreamFault("x", status=429, fault="quota", retry_after_s=300),
            ("300", "300000", "false"),
        ),
        (UpstreamFault("x", status=502), (None, None, None)),
        (UpstreamFault("x", status=502, fault="auth"), (None, None, "false")),
        (UpstreamFault("x", status=409, fault="client"), (None, None, "false")),
        (UpstreamFault("x", status=400, fault="client"), (None, None, None)),
        (UpstreamFault("x", status=503, fault="slo_shed"), ("1", "1000", None)),
        (GatewayError("internal error"), (None, None, None)),
    ],
)
def test_headers_say_whether_and_when_to_come_back(
    error: GatewayError, wanted: tuple[str | None, ...]
) -> None:
    headers = headers_of(error, "req_1")
    names = ("Retry-After", "retry-after-ms", "x-should-retry")
    assert tuple(map(headers.get, names)) == wanted
    assert headers["x-request-id"] == "req_1"
    told_ms = error.envelope().error.retry_after_ms
    assert (told_ms is None) == (wanted[0] is None)


@pytest.mark.req("ADM-2", "RUN-6")
@pytest.mark.parametrize(
    ("error", "status", "code", "kind", "label"),
    [
        (DeadlineUnreachable("x"), 429, "deadline_unreachable", "rate_limit_error", None),
        (ShedByIntent("x", policy_label="rung shed"), 503, "shed_by_intent", "overloaded_error", 1),
    ],
)
def test_what_the_loop_declines_may_be_repeated_and_says_why(
    error: GatewayError, status: int, code: str, kind: str, label: object
) -> None:
    told = error.envelope("req_1").error
    assert (error.status, told.code, told.type) == (status, code, kind)
    assert told.policy_label == ("rung shed" if label else code)
    assert (told.retriable, told.source) == (True, "gateway")


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize(
    ("retry_after_s", "retriable", "wanted"),
    [
        (30.0, True, ("30", "30000", None)),
        (40_000.0, False, ("40000", "40000000", "false")),
        (None, False, (None, None, "false")),
        (None, True, ("1", "1000", None)),
    ],
)
def test_a_budget_that_is_used_up_for_long_is_no_sdks_business(
    retry_after_s: float | None, retriable: bool, wanted: tuple[str | None, ...]
) -> None:
    error = BudgetExceeded("used up", retry_after_s=retry_after_s)
    error.retriable = retriable
    headers = headers_of(error, "req_1")
    names = ("Retry-After", "retry-after-ms", "x-should-retry")
    assert tuple(map(headers.get, names)) == wanted


def test_a_401_names_its_scheme() -> None:
    assert headers_of(MissingToken("no"), "r")["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("boom at http://10.0.0.5:8000/x", "boom at [backend]"),
        ("no route to 10.0.0.5", "no route to [backend]"),
        ("peer 10.0.0.5:8000 reset", "peer [backend] reset"),
        ("see http://vllm-0:8000/v1/models, it fails", "see [backend] it fails"),
        ("http://pool.prod.svc.cluster.local/x is gone", "[backend] is gone"),
        ("https://[fd00::1]:8443/x", "[backend]"),
        ("http://localhost:1/ refused", "[backend] refused"),
        (
            "see https://platform.openai.com/docs/errors.",
            "see https://platform.openai.com/docs/errors.",
        ),
        ("version 1.2.3 of vllm 0.32.0 at 99.5%", "version 1.2.3 of vllm 0.32.0 at 99.5%"),
    ],
)
def test_an_engines_words_tell_no_inner_address(said: str, shown: str) -> None:
    discretion = Discretion(Redactor(), [])
    assert discretion.presentable(UpstreamFault(said, status=400)).message == shown
