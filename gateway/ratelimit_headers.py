"""How a budget stands, as the headers that OpenAI's clients read.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, and the same of money under a name of our own. Of
several limits of one kind the one with the smallest share left is shown: it is the next to say no.
"""

from collections.abc import Sequence

from policies.budget import Standing
from policies.budget_limit import PICODOLLARS, BudgetLimit, Kind

_NAMES: dict[Kind, tuple[str, str, str]] = {
    "requests": (
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    "tokens": (
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ),
    "cost": (
        "x-setpoint-budget-limit-usd",
        "x-setpoint-budget-remaining-usd",
        "x-setpoint-budget-reset-usd",
    ),
}


class RatelimitHeaders:
    """Those of one budget with `limits`: what stays the same of them is worded once. Only of the kinds that
    there are."""

    __slots__ = ("_by_kind", "_limits")

    def __init__(self, limits: Sequence[BudgetLimit]) -> None:
        self._limits = [
            _dollars(one.amount) if one.kind == "cost" else str(one.amount) for one in limits
        ]
        by_kind: dict[Kind, list[int]] = {}
        for index, limit in enumerate(limits):
            by_kind.setdefault(limit.kind, []).append(index)
        self._by_kind = tuple(by_kind.items())

    def told(self, standings: Sequence[Standing]) -> dict[str, str]:
        """`standings` in the order of the limits."""
        headers: dict[str, str] = {}
        for kind, (index, *others) in self._by_kind:
            for other in others:
                if _share(standings[other]) < _share(standings[index]):
                    index = other
            standing = standings[index]
            limit, remaining, reset = _NAMES[kind]
            headers[limit] = self._limits[index]
            left = standing.remaining
            headers[remaining] = _dollars(left) if kind == "cost" else str(left)
            headers[reset] = go_duration(standing.reset_s)
        return headers


def go_duration(seconds: float) -> str:
    """As Go writes durations, in whole milliseconds, never less than it is: `6m0s`, `1.5s`, `20ms`."""
    millis = -int((1e-6 - seconds * 1000) // 1)  # rounded up, as `math.ceil` does with one call more
    if millis <= 0:
        return "0s"
    if millis < 1000:
        return f"{millis}ms"
    seconds, minutes, hours = millis % 60_000 / 1000, millis // 60_000 % 60, millis // 3_600_000
    if hours:
        return f"{hours}h{minutes}m{seconds:g}s"
    return f"{minutes}m{seconds:g}s" if minutes else f"{seconds:g}s"


def _share(standing: Standing) -> float:
    return standing.remaining / standing.limit.amount


def _dollars(amount: int) -> str:
    """Rounded down to a millionth: never more than there is."""
    micros = amount * 10**6 // PICODOLLARS
    return f"{micros // 10**6}.{micros % 10**6:06}".rstrip("0").rstrip(".")
