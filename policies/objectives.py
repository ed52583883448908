"""An intent's objectives as a list that the loop can go through: what is measured, against what, how
often it may be missed. Only look-ups and arithmetic."""

from typing import Literal

import msgspec

from contracts.policy import Intent

SignalName = Literal["ttft", "tpot", "e2e", "error_rate", "cost_per_minute", "cost_per_request"]
LATENCIES: tuple[SignalName, ...] = ("ttft", "tpot", "e2e")


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `objectives:`. `name` is as the operator wrote it, `ttft_p95`.

    `allowed` is the share of requests that may miss `target` (seconds, or USD a request); None for
    cost_per_minute, which is a rate and not a share.
    """

    name: str
    signal: SignalName
    target: float
    allowed: float | None
    quantile: float | None = None


def objectives_of(intent: Intent) -> tuple[Objective, ...]:
    """All that was promised, in the order of the policy schema."""
    found = []
    promised = intent.objectives
    for signal in LATENCIES:
        for percent in (50, 95, 99):
            target = getattr(promised, f"{signal}_p{percent}")
            if target is not None:
                found.append(
                    Objective(
                        name=f"{signal}_p{percent}",
                        signal=signal,
                        target=float(target),
                        allowed=round(1.0 - percent / 100, 4),
                        quantile=percent / 100,
                    )
                )
    if promised.error_rate is not None:
        share = float(promised.error_rate)
        found.append(Objective(name="error_rate", signal="error_rate", target=share, allowed=share))
    if promised.cost_per_minute is not None:
        usd = float(promised.cost_per_minute)
        found.append(
            Objective(name="cost_per_minute", signal="cost_per_minute", target=usd, allowed=None)
        )
    if promised.cost_per_request is not None:
        usd = float(promised.cost_per_request)
        found.append(
            Objective(name="cost_per_request", signal="cost_per_request", target=usd, allowed=0.05)
        )
    return tuple(found)
