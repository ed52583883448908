"""What a Gemini error means, by its details, its status and its text."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.gemini_faults import fault_of
from contracts.errors import FaultClass
from tests.fakes import gemini_words
from tests.fakes.answers import Refusal

pytestmark = pytest.mark.req("RUN-6")
DATA = Path(__file__).parent / "data" / "recordings" / "gemini"


def said(status: str, message: str, *details: dict[str, Any]) -> Refusal:
    return gemini_words.refusal(status, message, *details)


BY_REASON = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_SERVICE_BLOCKED",
}
CASES: list[tuple[Refusal, FaultClass]] = [
    (said("INVALID_ARGUMENT", "Unknown name"), "client"),
    (gemini_words.wrong_key(), "auth"),
    (said("INVALID_ARGUMENT", "API key expired. Please renew the API key."), "auth"),
    (said("PERMISSION_DENIED", "Method doesn't allow unregistered callers"), "auth"),
    (said("INVALID_ARGUMENT", "blocked", BY_REASON), "auth"),
    (said("FAILED_PRECONDITION", "User location is not supported for the API use."), "auth"),
    (said("FAILED_PRECONDITION", "Free tier is not available. Please enable billing"), "quota"),
    (said("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), "quota"),
    (said("RESOURCE_EXHAUSTED", "Resource has been exhausted"), "rate_limit"),
    (gemini_words.exhausted("GenerateRequestsPerMinutePerProjectPerModel"), "rate_limit"),
    (
        gemini_words.exhausted(
            "GenerateRequestsPerMinutePerProjectPerModel", "GenerateRequestsPerDayPerProject"
        ),
        "quota",
    ),
    (
        said(
            "INVALID_ARGUMENT", "The input token count exceeds the maximum number of tokens allowed"
        ),
        "context_length",
    ),
    (said("NOT_FOUND", "models/x is not found for API version v1"), "not_found"),
    (said("UNAVAILABLE", "The model is overloaded. Please try again later."), "overload"),
    (said("UNAVAILABLE", "This model is currently experiencing high demand."), "overload"),
    (said("UNAVAILABLE", "The service is currently unavailable."), "unavailable"),
    (said("DEADLINE_EXCEEDED", "Deadline expired"), "timeout"),
    (said("INTERNAL", "An internal error has occurred"), "upstream_bug"),
]


@pytest.mark.parametrize(("refusal", "fault"), CASES)
def test_an_error_is_of_a_class_before_a_stream_and_inside_it(
    refusal: Refusal, fault: FaultClass
) -> None:
    before, inside = fault_of(refusal.body, refusal.status), fault_of(refusal.body, None)
    assert (before.fault, inside.fault) == (fault, fault)
    assert before.status == inside.status
    assert (before.upstream_status, inside.upstream_status) == (refusal.status, None)
    wrapped = b"[" + refusal.body + b"]"
    assert fault_of(wrapped, refusal.status).fault == fault


@pytest.mark.parametrize(
    ("delay", "header", "told"),
    [
        ("7s", None, 7.0),
        ("20.5s", None, 20.5),
        ("7s", 3.0, 3.0),
        ("-1s", None, None),
        ("nans", None, None),
        ("soon", None, None),
        ("999999s", None, None),
        (None, None, None),
    ],
)
def test_when_to_come_back_is_in_the_details(
    delay: str | None, header: float | None, told: float | None
) -> None:
    refusal = gemini_words.exhausted("GenerateRequestsPerMinute", delay=delay)
    assert fault_of(refusal.body, 429, header).retry_after_s == told


def test_a_days_quota_is_not_back_in_a_minute() -> None:
    refusal = gemini_words.exhausted("GenerateRequestsPerDay", delay="20s")
    assert fault_of(refusal.body, 429).retry_after_s is None


def test_credentials_are_not_in_what_a_client_reads() -> None:
    fault = fault_of(gemini_words.wrong_key().body, 400)
    assert (fault.status, fault.code) == (502, "upstream_auth")
    assert "API key" not in fault.message


def test_a_recorded_error() -> None:
    body = (DATA / "error_test_model_name_suggestion_google_0e6068.json").read_bytes()
    fault = fault_of(body, 404)
    assert (fault.fault, fault.code) == ("not_found", "upstream_not_found")
    assert fault.message == json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        (b"", 502, "unavailable"),
        (b"", None, "stream_broken"),
        (b'{"error":{"message":"gone","type":"server_error"}}', 500, "upstream_bug"),
        (b'{"detail":"Not Found"}', 404, "not_found"),
        (b'{"error":{"code":"x"}}', 400, "client"),
    ],
)
def test_others_that_answer_in_googles_place_count_by_status(
    body: bytes, status: int | None, fault: FaultClass
) -> None:
    assert fault_of(body, status).fault == fault
