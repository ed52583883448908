"""Figures of several rounds, and what is said of them."""

import math
from collections.abc import Sequence
from statistics import median

import msgspec


class Samples(msgspec.Struct, frozen=True):
    """One figure, once a round."""

    values: list[float]

    @property
    def median(self) -> float:
        return median(self.values)

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """The median, and behind it the least and the most."""
        shown = [each * scale for each in (self.median, min(self.values), max(self.values))]
        middle, least, most = (f"{each:,.{digits}f}".replace(",", " ") for each in shown)
        return middle if len(self.values) == 1 else f"{middle} ({least} to {most})"

    def over(self, other: "Samples") -> "Samples":
        """This divided by another one, round by round: what slows a whole round cancels out."""
        pairs = zip(self.values, other.values, strict=False)
        return Samples([mine / theirs for mine, theirs in pairs if theirs])

    def less(self, other: "Samples") -> "Samples":
        """This minus another one, round by round."""
        return Samples([a - b for a, b in zip(self.values, other.values, strict=False)])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
