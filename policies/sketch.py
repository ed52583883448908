"""A latency distribution as counts in logarithmic buckets: a plain dict, merged by adding.

Must stay true: a quantile is within 1% of the true one wherever that lies between LEAST_S and
MOST_S; cutting the observations into several sketches and merging them never changes it. No
windows and no time here: `policies.window`. Meant for seconds; a quantity that leaves
100 us .. 1 h (tokens, bytes) is clamped and needs another range.
Source: DDSketch, Masson et al., VLDB 2019.
"""

import math
from collections.abc import Iterable, Mapping

RELATIVE_ERROR = 0.01
LEAST_S, MOST_S = 1e-4, 3600.0
"""Below and above nobody decides anything, so the whole range is some 870 buckets."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_BUCKETS_PER_E = 1 / math.log(_GAMMA)
# Bucket b >= 1 holds [LEAST * gamma^(b-1), LEAST * gamma^b). The shift folds the division by LEAST
# and the 1 into one addition, and makes the number positive, where int() rounds down.
_SHIFT = 1 - math.log(LEAST_S) * _BUCKETS_PER_E

LOWEST = 0
HIGHEST = int(math.log(MOST_S) * _BUCKETS_PER_E + _SHIFT) + 1

# One int object a bucket for all sketches: no memory for each key, and a dict finds it by identity.
_BUCKETS = tuple(range(HIGHEST + 1))

# As far, relatively, from a bucket's lower edge as from its upper one; for the open ends, the edge.
_VALUES = (
    LEAST_S,
    *(LEAST_S * _GAMMA ** (b - 1) * (1 + RELATIVE_ERROR) for b in range(1, HIGHEST)),
    MOST_S,
)

# 0.07 * 100 is 7.000000000000001, and rank 8 would be the wrong observation.
_RANK_SLACK = 1e-9


def bucket_of(value: float) -> int:
    """The bucket of a value in seconds: LOWEST up to LEAST_S, HIGHEST from MOST_S on.

    Raises ValueError for NaN.
    """
    return buckets_of((value,))[0]


def buckets_of(values: Iterable[float]) -> list[int]:
    """The same of many at once, which takes a third of the time."""
    log = math.log
    return [
        LOWEST
        if value <= LEAST_S
        else HIGHEST
        if value >= MOST_S
        else _BUCKETS[int(log(value) * _BUCKETS_PER_E + _SHIFT)]
        for value in values
    ]


def value_of(bucket: int) -> float:
    """The value, in seconds, that stands for a bucket: within 1% of each value that falls there."""
    return _VALUES[bucket]


def quantile(
    counts: Mapping[int, int], total: int, q: float, missing: int = 0, *, top: int = -1
) -> float | None:
    """The smallest value, in seconds, that at least the share `q` of all observations stays within.

    `counts` is observations by bucket and `total` their sum. `missing` come on top: observations
    known to be larger than all others (refused, never answered); a quantile among them is `inf`.
    None without observations. So `quantile(..., 0.95) > x` says: more than 5% exceed x. Who knows
    the largest bucket, or one above it, says so in `top` and saves the search for it.
    """
    everything = total + missing
    if everything <= 0:
        return None
    rank = min(max(math.ceil(q * everything - _RANK_SLACK), 1), everything)
    if rank > total:
        return math.inf
    if q > 0.5:  # the tail has few observations to walk over
        down = range(max(counts) if top < 0 else top, -1, -1)
        return _VALUES[_nth(counts, down, total - rank + 1)]
    return _VALUES[_nth(counts, range(min(counts), HIGHEST + 1), rank)]


def _nth(counts: Mapping[int, int], order: range, rank: int) -> int:
    """The bucket of the observation at `rank` (from 1), walking the buckets in `order`."""
    for bucket in order:
        if bucket in counts:
            rank -= counts[bucket]
            if rank <= 0:
                return bucket
    raise ValueError("total is more than the counts add up to")
