"""How llm-d's endpoint picker says no: status, reason header and plain text of each case, to the letter.

None of them carries `Retry-After`, and none is OpenAI's JSON. When a request is dropped is not
decided here. Source: llm-d-router `pkg/common/error/error.go`, `pkg/epp/requestcontrol/admission.go`
and `director.go`, main @ ebab687.
"""

from typing import Literal

import msgspec

from adapters.fakellmd.epp_headers import DROPPED_REASON
from adapters.fakellmd.epp_settings import ProfileFacts

Code = Literal["ResourceExhausted", "ServiceUnavailable", "Internal", "PreconditionFailed"]
DropOutcome = Literal[
    "RejectedCapacity",
    "RejectedNoEndpoints",
    "RejectedOther",
    "EvictedTTL",
    "EvictedNoEndpoints",
    "EvictedContextCancelled",
    "EvictedOther",
]
Outcome = Literal["Dispatched"] | DropOutcome
"""What became of a request in the queue, as the metrics call it. The two `Other` are shutdowns here."""

_STATUS: dict[Code, int] = {
    "ResourceExhausted": 429,
    "ServiceUnavailable": 503,
    "Internal": 500,
    "PreconditionFailed": 412,
}
_REJECTED = "request rejected pre-queue"
_EVICTED = "request evicted from queue"
_EXPIRED = "request TTL expired"
_EMPTY = "no endpoints available"
_STOPPED = "flow controller is not running"


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the picker's own. `code` is None where its error counter does not count it."""

    status: int
    reason: str | None
    text: str
    code: Code | None

    @property
    def headers(self) -> dict[str, str]:
        plain = {"content-type": "text/plain"}
        return plain if self.reason is None else plain | {DROPPED_REASON: self.reason}


def _drop(code: Code, reason: str | None, message: str) -> Drop:
    return Drop(
        status=_STATUS[code],
        reason=reason,
        text=f"inference error: {code} - {message}",
        code=code,
    )


SHED = _drop("ResourceExhausted", None, "system saturated, sheddable request dropped")
"""Flow control is off, the request sheddable, the pool saturated."""
NO_CANDIDATES = _drop(
    "ServiceUnavailable",
    "rejected-no-endpoints",
    "failed to find endpoint candidates for serving the request",
)
FILTERED = _drop(
    "ResourceExhausted",
    "rejected-saturated",
    "no endpoints available for the given request",
)
NO_PREFIX = _drop("PreconditionFailed", None, "no decode worker has the requested KV cache")
EVICTED = Drop(status=429, reason="evicted", text="request evicted by flow control", code=None)
"""It was running already. After the response's head, only a broken stream can say so."""


def denied(why: str) -> Drop:
    """An admitter said no. A 500, though nothing is broken."""
    return _drop("Internal", None, f"request cannot be admitted: {why}")


def of_outcome(outcome: DropOutcome, facts: ProfileFacts) -> Drop:
    """What a request is told that the queue did not dispatch."""
    if outcome == "EvictedTTL" and facts.knows_empty_pools:
        return _drop("ResourceExhausted", *_BY_OUTCOME[outcome])
    if outcome == "RejectedCapacity":
        return _drop("ResourceExhausted", *_BY_OUTCOME[outcome])
    return _drop("ServiceUnavailable", *_BY_OUTCOME[outcome])


_BY_OUTCOME: dict[DropOutcome, tuple[str, str]] = {
    "RejectedCapacity": ("rejected-saturated", f"{_REJECTED}: queue at capacity"),
    "RejectedNoEndpoints": ("rejected-no-endpoints", f"{_EMPTY}: {_REJECTED}: {_EMPTY}"),
    "RejectedOther": (
        "rejected-shutting-down",
        f"flow controller shutting down: {_REJECTED}: {_STOPPED}",
    ),
    "EvictedTTL": (
        "rejected-ttl-expired",
        f"request timed out in queue: {_EVICTED}: {_EXPIRED}",
    ),
    "EvictedNoEndpoints": (
        "rejected-no-endpoints",
        "request timed out in queue and no endpoints are available: "
        f"{_EVICTED}: {_EXPIRED}: {_EMPTY}",
    ),
    "EvictedContextCancelled": (
        "rejected-context-cancelled",
        f"client disconnected: {_EVICTED}: request context cancelled: context canceled",
    ),
    "EvictedOther": (
        "rejected-shutting-down",
        f"flow controller shutting down: {_EVICTED}: {_STOPPED}",
    ),
}
