"""How a budget stands, as the headers that OpenAI's clients read.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, and the same of money under a name of our own. Of
several limits of one kind the one with the smallest share left is shown: it is the next to say no.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

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
_THREE_DIGITS = [f"{number:03}" for number in range(1000)]
_THOUSANDTHS = ["", *(f".{digits}".rstrip("0") for digits in _THREE_DIGITS[1:])]
"""What a number of thousandths looks like behind a whole number: to write floats takes three times as long."""
_MICRODOLLAR = PICODOLLARS // 10**6


class RatelimitHeaders:
    """Those of one budget with `limits`: what stays the same of them is worded once. Only of the kinds that
    there are."""

    __slots__ = ("_begins", "_kinds")

    def __init__(self, limits: Sequence[BudgetLimit]) -> None:
        self._begins = [_begin(one) for one in limits]
        by_kind: dict[Kind, list[int]] = {}
        for index, limit in enumerate(limits):
            by_kind.setdefault(limit.kind, []).append(index)
        self._kinds = [
            (_SPELLED[kind], f"\r\n{_NAMES[kind][2]}: ", index, others)
            for kind, (index, *others) in by_kind.items()
        ]

    def lines(self, standings: Sequence[Standing]) -> str:
        """As lines of a head, each with its end. `standings` in the order of the limits."""
        lines, reset_s, reset = "", 0.0, "0s"
        for spelled, goes_on, index, others in self._kinds:
            for other in others:
                if _share(standings[other]) < _share(standings[index]):
                    index = other
            standing = standings[index]
            if standing.reset_s != reset_s:  # windows that are equally long mostly end together
                reset_s = standing.reset_s
                reset = go_duration(reset_s)
            remaining = spelled(standing.remaining)
            lines += f"{self._begins[index]}{remaining}{goes_on}{reset}\r\n"
        return lines


def _begin(one: BudgetLimit) -> str:
    """What is the same each time of what is told of a limit, up to how much of it is left."""
    limit, remaining, _ = _NAMES[one.kind]
    return f"{limit}: {_SPELLED[one.kind](one.amount)}\r\n{remaining}: "


def go_duration(seconds: float) -> str:
    """As Go writes durations, in whole milliseconds, never less than it is: `6m0s`, `1.5s`, `20ms`."""
    millis = int(seconds * 1000 + (1 - 1e-6))  # rounded up
    if millis < 1000:
        return f"{millis}ms" if millis > 0 else "0s"
    whole = millis // 1000
    return f"{_whole(whole)}{_THOUSANDTHS[millis - whole * 1000]}s"


@lru_cache(maxsize=256)
def _whole(seconds: int) -> str:
    """Without the last unit. Windows that end together have it in common, and for a second it stays."""
    minutes, seconds = divmod(seconds, 60)
    if not minutes:
        return f"{seconds}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def _share(standing: Standing) -> float:
    return standing.remaining / standing.limit.amount


def _dollars(amount: int) -> str:
    """Rounded down to a millionth: never more than there is."""
    micros = amount // _MICRODOLLAR
    whole = micros // 10**6
    rest = micros - whole * 10**6
    if not rest:
        return f"{whole}"
    return f"{whole}.{_THREE_DIGITS[rest // 1000]}{_THREE_DIGITS[rest % 1000]}".rstrip("0")


_SPELLED: dict[Kind, Callable[[int], str]] = {"requests": str, "tokens": str, "cost": _dollars}
