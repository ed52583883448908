"""When counts prove something: is a promised exceedance rate broken, or is it kept?

Must stay true: the tests are exact (no normal approximation at any n), and between "broken" and
"kept" there is "unknown", where the loop holds. Counts come from `policies.window.Tally`, with a
value that never came counted as bad.

Each answer errs with probability 1 - confidence *at one look*. Looking four times a second at a
sliding window errs more often; judging an action needs `policies.sequential_test`.
Source: Clopper & Pearson 1934.
"""

import math
from functools import lru_cache

MIN_SAMPLES = 20
"""Fewer prove nothing, whatever they show."""

# Far below any doubt worth asking for, far above the smallest float.
_NEGLIGIBLE = 1e-20


def proves_violation(n: int, bad: int, allowed: float, confidence: float = 0.95) -> bool:
    """Whether `bad` of `n` is too many for a true rate of at most `allowed`: P(X >= bad) <= doubt.

    For 5%: 4 of 20, 6 of 50, 10 of 100, 16 of 200. Raises ValueError unless allowed is in [0, 1]
    and confidence in (0.5, 1).
    """
    _check(allowed, confidence)
    # Up to the mean P is at least 1/2 (the median is next to it): most questions end here.
    if n < MIN_SAMPLES or bad <= n * allowed:
        return False
    return bad >= _fewest_that_prove(n, allowed, confidence)


def proves_compliance(n: int, bad: int, allowed: float, confidence: float = 0.95) -> bool:
    """Whether `bad` of `n` is too few for a true rate of `allowed` or more: P(X <= bad) <= doubt.

    For 5%: 0 of 59, 1 of 100, 4 of 200. Nothing proves a rate of 0. Raises like `proves_violation`.
    """
    _check(allowed, confidence)
    # Few bad among those allowed to be bad is many good among those required to be good.
    good, required = n - bad, 1 - allowed
    if n < MIN_SAMPLES or good <= n * required:
        return False
    return good >= _fewest_that_prove(n, required, confidence)


def _check(allowed: float, confidence: float) -> None:
    if not (0 <= allowed <= 1 and 0.5 < confidence < 1):
        raise ValueError(
            f"allowed {allowed} must be in [0, 1], confidence {confidence} in (0.5, 1)"
        )


@lru_cache(maxsize=8192)
def _fewest_that_prove(n: int, rate: float, confidence: float) -> int:
    """The smallest k with P(X >= k) <= 1 - confidence for X ~ Binomial(n, rate), 0 <= rate < 1.

    n + 1 when even n would not do. Some ten standard deviations of steps: for 5%, 15 us at n = 300
    and 0.1 ms at n = 100 000.
    """
    doubt = 1 - confidence
    k = math.floor(n * rate)
    # Up from the mean, where nothing underflows, each term from the one before; then back down, so
    # that the small ones are added first.
    terms = [_probability(n, k, rate)]
    odds = rate / (1 - rate)
    while k < n and terms[-1] > _NEGLIGIBLE:
        terms.append(terms[-1] * odds * (n - k) / (k + 1))
        k += 1
    tail = 0.0
    while terms:
        tail += terms.pop()
        if tail > doubt:
            break
        k -= 1
    return k + 1


def _probability(n: int, k: int, rate: float) -> float:
    """P(X = k), in logarithms: n over k has 30 000 digits where n has six."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + (k * math.log(rate) if k else 0.0) + (n - k) * math.log1p(-rate))
