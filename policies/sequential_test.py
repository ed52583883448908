"""Did an action do what it was expected to do? Wald's sequential test on exceedances, as a value.

Must stay true: it may be looked at after every request and errs no more often for it, which no
comparison of two p95s can say; for that, a verdict once reached stays (INT-6). Which requests count
(dispatched after the action) and how long to wait for a verdict is the caller's.
Source: Wald, "Sequential Tests of Statistical Hypotheses", 1945.
"""

import math
from typing import Literal

import msgspec

Verdict = Literal["as_expected", "not", "open"]


class SequentialTest(msgspec.Struct, frozen=True, kw_only=True):
    """Two explanations for the share of bad requests, and what was seen so far.

    Raises ValueError unless 0 < expected < otherwise < 1, and alpha and beta are positive with
    alpha + beta < 1.
    """

    expected: float
    """Rate of bad requests if the action works (H0)."""
    otherwise: float
    """Rate if it does not (H1)."""
    alpha: float = 0.05
    """Chance of "not" although it works."""
    beta: float = 0.05
    """Chance of "as_expected" although it does not."""
    n: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.expected < self.otherwise < 1:
            raise ValueError(f"not 0 < expected {self.expected} < otherwise {self.otherwise} < 1")
        if not (self.alpha > 0 and self.beta > 0 and self.alpha + self.beta < 1):
            raise ValueError(f"alpha {self.alpha}, beta {self.beta}: positive, together below 1")

    @property
    def llr(self) -> float:
        """Log of how much likelier `otherwise` makes what was seen than `expected` does.

        With 5% against 15% each bad request adds 1.0986 and each good one takes 0.1112.
        """
        per_bad = math.log(self.otherwise / self.expected)
        per_good = math.log((1 - self.otherwise) / (1 - self.expected))
        return self.bad * per_bad + (self.n - self.bad) * per_good

    @property
    def verdict(self) -> Verdict:
        """With alpha = beta = 0.05 it is open while llr is within +-2.944."""
        llr = self.llr
        if llr >= math.log((1 - self.beta) / self.alpha):
            return "not"
        if llr <= math.log(self.beta / (1 - self.alpha)):
            return "as_expected"
        return "open"

    def seen(self, n_good: int, n_bad: int) -> "SequentialTest":
        """The test after these as well, in whichever order they came. After a verdict: itself.

        Raises ValueError for a negative count.
        """
        if n_good < 0 or n_bad < 0:
            raise ValueError(f"{n_good} good, {n_bad} bad: evidence is never taken back")
        if self.verdict != "open":
            return self
        return msgspec.structs.replace(self, n=self.n + n_good + n_bad, bad=self.bad + n_bad)
