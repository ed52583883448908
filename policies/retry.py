"""What may follow an attempt that failed: the same again, and after how long, or another target. Pure."""

from collections.abc import Callable

from contracts.errors import (
    REPEATABLE,
    BelowQualityFloor,
    FaultClass,
    GatewayError,
    Shed,
    UpstreamFault,
)

BACKOFF_BASE_S, BACKOFF_MAX_S = 0.1, 2.0
RETRY_AFTER_PATIENCE_S = 5.0
"""A backend that asks for more than this is not waited for: the next target, or the client, is told."""
STALLED_S = 5.0
"""An engine that was silent for so long before it broke off would be so again: others are asked first."""

_WORTH_REPEATING: frozenset[FaultClass] = REPEATABLE | {"stream_broken"}
"""A broken stream comes here only while nothing of it has been sent on, or where it can be gone on with."""
_NO_TARGET: frozenset[FaultClass] = frozenset({"client", "content"})
"""The request itself is at fault; no other target will like it better."""


def is_final(error: GatewayError) -> bool:
    """No other target is asked: the request is at fault, or it is one of our own bugs."""
    if isinstance(error, UpstreamFault):
        return error.fault in _NO_TARGET
    return not isinstance(error, Shed) or isinstance(error, BelowQualityFloor)


def worth_repeating(error: GatewayError) -> bool:
    """Whether the same request may fare better at the same target."""
    return isinstance(error, UpstreamFault) and error.fault in _WORTH_REPEATING


def timed_out(error: GatewayError) -> bool:
    """Whether it was given up by one of the gateway's clocks."""
    return isinstance(error, UpstreamFault) and error.fault == "timeout"


def pause_s(error: GatewayError, done: int, draw: Callable[[], float]) -> float | None:
    """How long to leave an endpoint alone that failed so, after `done` repetitions; None: it asks for more
    patience than there is. `draw` gives uniform numbers in [0, 1)."""
    asked_s = error.retry_after_s
    if asked_s is not None and asked_s > RETRY_AFTER_PATIENCE_S:
        return None
    jittered_s: float = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2**done) * draw()
    return max(asked_s or 0.0, jittered_s)


def backoff_s(
    error: GatewayError, done: int, draw: Callable[[], float], *, untried: bool
) -> float | None:
    """How long to wait before the same target is asked again; None: it is not worth it. `untried`: an
    endpoint of it has not been asked yet."""
    if not worth_repeating(error):
        return None
    if untried:
        return 0.0  # what one endpoint asked for is not what the next one needs
    if timed_out(error):
        return None  # it would be silent again
    return pause_s(error, done, draw)
