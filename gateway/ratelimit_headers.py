"""How a budget stands, as the headers that OpenAI's clients read.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, and the same of money under a name of our own. Of
several limits of one kind the one with the smallest share left is shown: it is the next to say no.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import trunc

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
_THOUSANDTHS = ["s", *(f".{digits}".rstrip("0") + "s" for digits in _THREE_DIGITS[1:])]
"""How a number of seconds ends that has so many thousandths: to write floats takes three times as long."""
_MICRODOLLAR = PICODOLLARS // 10**6
_Worded = tuple[int, int, str]
"""Which limit of a budget it is, its amount, and what is the same each time of what is told of it."""


class RatelimitHeaders:
    """Those of one budget with `limits`: what stays the same of them is worded once. Only of the kinds that
    there are."""

    __slots__ = ("_kinds",)

    def __init__(self, limits: Sequence[BudgetLimit]) -> None:
        by_kind: dict[Kind, list[_Worded]] = {}
        for index, limit in enumerate(limits):
            by_kind.setdefault(limit.kind, []).append((index, limit.amount, _begin(limit)))
        self._kinds = [
            (_only(worded), worded, _SPELLED[kind], f"\r\n{_NAMES[kind][2]}: ")
            for kind, worded in by_kind.items()
        ]

    def lines(self, uses: Sequence[tuple[int, float]]) -> str:
        """As lines of a head, each with its end. `uses` as `Budget.uses` tells them."""
        lines, last_s, reset = "", 0.0, "0s"
        for only, worded, spelled, goes_on in self._kinds:
            index, amount, begin = only or _scarcest(worded, uses)
            used, reset_s = uses[index]
            if reset_s != last_s:  # windows that are equally long mostly end together
                last_s, reset = reset_s, go_duration(reset_s)
            left = amount - used
            lines += f"{begin}{spelled(left if left > 0 else 0)}{goes_on}{reset}\r\n"
        return lines


def _begin(one: BudgetLimit) -> str:
    """What is the same each time of what is told of a limit, up to how much of it is left."""
    limit, remaining, _ = _NAMES[one.kind]
    return f"{limit}: {_SPELLED[one.kind](one.amount)}\r\n{remaining}: "


def _only(worded: Sequence[_Worded]) -> _Worded | None:
    return worded[0] if len(worded) == 1 else None


def _scarcest(worded: Sequence[_Worded], uses: Sequence[tuple[int, float]]) -> _Worded:
    """The first of those with the smallest share left; nothing is left of what there are debts of."""
    return min(worded, key=lambda one: max(0, one[1] - uses[one[0]][0]) / one[1])


def go_duration(seconds: float) -> str:
    """As Go writes durations, in whole milliseconds, never less than it is: `6m0s`, `1.5s`, `20ms`."""
    millis = trunc(seconds * 1000 + (1 - 1e-6))  # rounded up; `int` takes three times as long
    if millis < 1000:
        return f"{millis}ms" if millis > 0 else "0s"
    whole = millis // 1000
    return _whole(whole) + _THOUSANDTHS[millis - whole * 1000]


@lru_cache(maxsize=256)
def _whole(seconds: int) -> str:
    """Without the last unit. Windows that end together have it in common, and for a second it stays."""
    minutes, seconds = divmod(seconds, 60)
    if not minutes:
        return f"{seconds}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def _dollars(amount: int) -> str:
    """Rounded down to a millionth: never more than there is."""
    micros = amount // _MICRODOLLAR
    whole = micros // 10**6
    rest = micros - whole * 10**6
    if not rest:
        return f"{whole}"
    return f"{whole}.{_THREE_DIGITS[rest // 1000]}{_THREE_DIGITS[rest % 1000]}".rstrip("0")


_SPELLED: dict[Kind, Callable[[int], str]] = {"requests": str, "tokens": str, "cost": _dollars}
