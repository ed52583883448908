"""How a budget stands, as the headers that OpenAI's clients read.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, and the same of money under a name of our own. Of
several limits of one kind the one with the smallest share left is shown: it is the next to say no.
"""

import math
from collections.abc import Iterable

from policies.budget import Standing
from policies.budget_limit import PICODOLLARS, Kind

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


def ratelimit_headers(standings: Iterable[Standing]) -> dict[str, str]:
    """Only of the kinds that there are."""
    tightest: dict[Kind, Standing] = {}
    for standing in standings:
        kind = standing.limit.kind
        known = tightest.get(kind)
        if known is None or _share(standing) < _share(known):
            tightest[kind] = standing
    headers: dict[str, str] = {}
    for kind, standing in tightest.items():
        limit, remaining, reset = _NAMES[kind]
        headers[limit] = _amount(kind, standing.limit.amount)
        headers[remaining] = _amount(kind, standing.remaining)
        headers[reset] = go_duration(standing.reset_s)
    return headers


def go_duration(seconds: float) -> str:
    """As Go writes durations, in whole milliseconds, never less than it is: `6m0s`, `1.5s`, `20ms`."""
    millis = math.ceil(seconds * 1000 - 1e-6)
    if millis <= 0:
        return "0s"
    if millis < 1000:
        return f"{millis}ms"
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{millis / 1000:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _share(standing: Standing) -> float:
    return standing.remaining / standing.limit.amount


def _amount(kind: Kind, amount: int) -> str:
    """Dollars rounded down to a millionth: never more than there is."""
    if kind != "cost":
        return str(amount)
    whole, micros = divmod(amount * 10**6 // PICODOLLARS, 10**6)
    return f"{whole}.{micros:06}".rstrip("0").rstrip(".")
