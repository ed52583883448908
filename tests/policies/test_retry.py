"""After a failure: the same target again, and when; another one; or nobody."""

import pytest

from contracts.errors import (
    BelowQualityFloor,
    GatewayError,
    InvalidField,
    QueueFull,
    StreamBroken,
    UpstreamFault,
    UpstreamTimeout,
)
from policies.retry import (
    BACKOFF_BASE_S,
    BACKOFF_MAX_S,
    RETRY_AFTER_PATIENCE_S,
    backoff_s,
    is_final,
    pause_s,
    timed_out,
    worth_repeating,
)

pytestmark = pytest.mark.req("RUN-5", "RUN-7")
BUSY = UpstreamFault("x", fault="unavailable")
SILENT = UpstreamTimeout("x", fault="timeout")


@pytest.mark.parametrize(
    ("error", "final", "repeats"),
    [
        (BUSY, False, True),
        (StreamBroken("x", fault="stream_broken"), False, True),
        (SILENT, False, True),
        (UpstreamFault("x", fault="context_length"), False, False),
        (UpstreamFault("x", fault="client"), True, False),
        (UpstreamFault("x", fault="content"), True, False),
        (InvalidField("x"), True, False),
        (GatewayError("a bug"), True, False),
        (BelowQualityFloor("x"), True, False),
        (QueueFull("x"), False, False),
    ],
)
def test_what_an_error_leaves_to_try(error: GatewayError, final: bool, repeats: bool) -> None:
    assert (is_final(error), worth_repeating(error)) == (final, repeats)
    assert timed_out(error) == (error is SILENT)


def test_pauses_double_up_to_a_bound_and_are_jittered() -> None:
    pauses = [pause_s(BUSY, done, lambda: 1.0) for done in range(8)]
    assert pauses[:3] == [BACKOFF_BASE_S, 2 * BACKOFF_BASE_S, 4 * BACKOFF_BASE_S]
    assert pauses[-1] == BACKOFF_MAX_S
    assert pause_s(BUSY, 3, lambda: 0.0) == 0.0


def test_what_a_backend_asks_for_is_waited_for_up_to_our_patience() -> None:
    def asks(retry_after_s: float) -> UpstreamFault:
        return UpstreamFault("x", fault="rate_limit", retry_after_s=retry_after_s)

    assert pause_s(asks(2.0), 0, lambda: 1.0) == 2.0
    assert pause_s(asks(RETRY_AFTER_PATIENCE_S + 1), 0, lambda: 1.0) is None
    assert backoff_s(asks(60.0), 0, lambda: 1.0, untried=True) == 0.0, (
        "another endpoint did not ask"
    )
    assert backoff_s(asks(60.0), 0, lambda: 1.0, untried=False) is None


def test_a_silent_endpoint_is_not_asked_again_and_its_sibling_is() -> None:
    assert backoff_s(SILENT, 0, lambda: 1.0, untried=False) is None
    assert backoff_s(SILENT, 0, lambda: 1.0, untried=True) == 0.0


def test_what_is_not_worth_repeating_is_not_repeated_anywhere() -> None:
    assert backoff_s(UpstreamFault("x", fault="client"), 0, lambda: 1.0, untried=True) is None
