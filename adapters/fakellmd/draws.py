"""Reproducible draws: numbers that depend on their key alone, never on who asked before.

There is no generator state to share or to seed: the same key always gives the same number, on
every machine. Source: splitmix64 (Steele, Lea & Flood 2014). Not for secrets.
"""

import hashlib
import math
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate

_MASK = (1 << 64) - 1
_TAPE_LENGTH = 4093
"""A prime, so that jobs which read the tape in equal strides do not meet."""
_SUMS_KEPT = 1 << 17
"""Places whose sums lie ready: twice as far as jobs begin, for answers of 65 000 tokens."""
JITTER_MIN, JITTER_MAX = 0.3, 1.7


def mix(*parts: int) -> int:
    """64 well-mixed bits from any integers; their order matters."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def digest(data: bytes) -> int:
    """64 bits that stand for `data`."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def uniform(key: int) -> float:
    """In [0, 1)."""
    return (mix(key) >> 11) * 2.0**-53


def normal(key: int) -> float:
    """Mean 0, standard deviation 1 (Box & Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(mix(key, 1))))
    return radius * math.cos(2.0 * math.pi * uniform(mix(key, 2)))


def jitter(key: int, relative_std_dev: float) -> float:
    """A factor around 1, clamped to [0.3, 1.7] as llm-d-inference-sim clamps it; 1 without deviation."""
    if relative_std_dev == 0.0:
        return 1.0
    return min(max(1.0 + relative_std_dev * normal(key), JITTER_MIN), JITTER_MAX)


class JitterTape:
    """An endless sequence of jitter factors with O(1) sums over any stretch of it.

    Each job reads one common tape from a place of its own: the sum over a thousand gaps costs as
    much as one gap, which is what lets a simulated hour pass in seconds. `sums[place]` is the sum of
    the factors before `place`, for the laps that nearly every question is about: reading it costs a
    third of a call of `up_to`, which knows the rest.
    """

    def __init__(self, seed: int, relative_std_dev: float) -> None:
        length = _TAPE_LENGTH if relative_std_dev else 1
        factors = [jitter(mix(seed, place), relative_std_dev) for place in range(length)]
        *before, self._total = accumulate(factors, initial=0.0)
        self._length = length
        laps = -(-_SUMS_KEPT // length)
        self.sums = [lap * self._total + part for lap in range(laps) for part in before]

    def up_to(self, place: int) -> float:
        """The sum of the factors before `place` (0 or more)."""
        if place < len(self.sums):
            return self.sums[place]
        laps, rest = divmod(place, self._length)
        return self.sums[rest] + laps * self._total

    def place_of(self, total: float) -> int:
        """The first place with `up_to(place) >= total`, give or take a rounding error."""
        laps, rest = divmod(total, self._total)
        return int(laps) * self._length + bisect_left(self.sums, rest, 0, self._length)


@lru_cache(maxsize=64)
def jitter_tape(seed: int, relative_std_dev: float) -> JitterTape:
    """The tape of this seed and deviation; one object serves every engine, for it never changes."""
    return JitterTape(seed, relative_std_dev)
