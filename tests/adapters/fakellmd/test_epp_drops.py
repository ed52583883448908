"""The words of the picker's refusals, to the letter, for each version."""

import pytest

from adapters.fakellmd import epp_drops
from adapters.fakellmd.epp_drops import Drop, DropOutcome, of_outcome
from adapters.fakellmd.epp_settings import PROFILES, Profile

pytestmark = pytest.mark.req("INT-9")
SU, RE = "inference error: ServiceUnavailable - ", "inference error: ResourceExhausted - "
TTL = "request timed out in queue: request evicted from queue: request TTL expired"
EMPTY = "request timed out in queue and no endpoints are available: request evicted from queue: "
STOPPED = "flow controller shutting down: request"


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "text"),
    [
        (
            *("RejectedCapacity", 429, "rejected-saturated"),
            f"{RE}request rejected pre-queue: queue at capacity",
        ),
        (
            *("RejectedNoEndpoints", 503, "rejected-no-endpoints"),
            f"{SU}no endpoints available: request rejected pre-queue: no endpoints available",
        ),
        ("EvictedTTL", 429, "rejected-ttl-expired", RE + TTL),
        (
            *("EvictedNoEndpoints", 503, "rejected-no-endpoints"),
            f"{SU}{EMPTY}request TTL expired: no endpoints available",
        ),
        (
            *("EvictedContextCancelled", 503, "rejected-context-cancelled"),
            f"{SU}client disconnected: request evicted from queue: request context cancelled: "
            "context canceled",
        ),
        (
            *("EvictedOther", 503, "rejected-shutting-down"),
            f"{SU}{STOPPED} evicted from queue: flow controller is not running",
        ),
        (
            *("RejectedOther", 503, "rejected-shutting-down"),
            f"{SU}{STOPPED} rejected pre-queue: flow controller is not running",
        ),
    ],
)
@pytest.mark.parametrize("profile", ["v0.10", "main"])
def test_what_the_queue_says_when_it_drops(
    profile: Profile, outcome: DropOutcome, status: int, reason: str, text: str
) -> None:
    drop = of_outcome(outcome, PROFILES[profile])
    assert (drop.status, drop.reason, drop.text) == (status, reason, text)


def test_before_v0_10_a_ttl_that_expires_is_a_503_with_the_same_reason() -> None:
    drop = of_outcome("EvictedTTL", PROFILES["v0.9"])
    assert (drop.status, drop.reason) == (503, "rejected-ttl-expired")
    assert drop.text == SU + TTL
    assert of_outcome("RejectedCapacity", PROFILES["v0.9"]).status == 429


@pytest.mark.parametrize(
    ("drop", "status", "reason", "text"),
    [
        (epp_drops.SHED, 429, None, f"{RE}system saturated, sheddable request dropped"),
        (
            *(epp_drops.NO_CANDIDATES, 503, "rejected-no-endpoints"),
            f"{SU}failed to find endpoint candidates for serving the request",
        ),
        (
            *(epp_drops.FILTERED, 429, "rejected-saturated"),
            f"{RE}no endpoints available for the given request",
        ),
        (epp_drops.EVICTED, 429, "evicted", "request evicted by flow control"),
        (
            *(epp_drops.denied("no"), 500, None),
            "inference error: Internal - request cannot be admitted: no",
        ),
        (
            *(epp_drops.NO_PREFIX, 412, None),
            "inference error: PreconditionFailed - no decode worker has the requested KV cache",
        ),
    ],
)
def test_what_the_rest_of_the_picker_says(
    drop: Drop, status: int, reason: str | None, text: str
) -> None:
    assert (drop.status, drop.reason, drop.text) == (status, reason, text)


@pytest.mark.parametrize("drop", [epp_drops.SHED, epp_drops.EVICTED])
def test_a_drop_is_plain_text_and_never_says_when_to_come_back(drop: Drop) -> None:
    assert drop.headers["content-type"] == "text/plain"
    assert "retry-after" not in drop.headers
    assert drop.headers.get("x-llm-d-request-dropped-reason") == drop.reason
