"""One line of a budget, as a value: so many requests, tokens or dollars in so long.

The words that budgets share; nothing is counted here.
"""

from typing import Literal

import msgspec

from policies.usage_window import DAY_S

PICODOLLARS = 10**12
"""Of a dollar. The price of one token is a whole number of them, down to a millionth of a dollar for a
million tokens."""
Kind = Literal["requests", "tokens", "cost"]


class BudgetLimit(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` in requests, tokens or picodollars, within any `per_s` seconds, or in a calendar day
    (UTC) if `calendar_day`."""

    kind: Kind
    amount: int
    per_s: float
    calendar_day: bool = False

    @property
    def label(self) -> str:
        """In words: `60 requests per 1m`, `5 USD per day`."""
        return f"{spelled(self.kind, self.amount)} per {self.per}"

    @property
    def per(self) -> str:
        """The window as an operator writes it."""
        if self.calendar_day:
            return "day"
        for unit, size_s in (("d", DAY_S), ("h", 3600), ("m", 60)):
            if self.per_s % size_s == 0:
                return f"{self.per_s / size_s:g}{unit}"
        return f"{self.per_s:g}s"


def picodollars(usd: float) -> int:
    return round(usd * PICODOLLARS)


def spelled(kind: Kind, amount: int) -> str:
    """An amount in words: `60 requests`, `0.25 USD`."""
    if kind == "cost":
        return f"{amount / PICODOLLARS:g} USD"
    return f"{amount} {kind if amount != 1 else kind.removesuffix('s')}"
