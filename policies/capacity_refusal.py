"""What a backend's refusal says about its room: the one thing that a limit learns from an error.

A closed set. A request that ran and was thrown out made room for a more important one, and one that was
declined for its own objective would have been too late: neither says how much else there is room for.
"""

from typing import Literal

from contracts.errors import FaultClass

CapacitySignal = Literal["capacity", "expired", "none"]
"""`capacity`: no room now. `expired`: it waited in vain, so there is a little less room than was thought.
`none`: nothing is known."""


def capacity_refusal(fault: FaultClass, code: str) -> CapacitySignal:
    """Read an `UpstreamFault`'s class and code; what the two may be is the dialect's to say.

    A provider's `rate_limit` and `quota` are about an account, not about its engines.
    Source: the window controller of llm-d-async (pull request 379), for llm-d's drop reasons.
    """
    if fault != "overload" or code.startswith("evicted"):
        return "none"
    return "expired" if code == "rejected_ttl_expired" else "capacity"
