"""Envoy's adaptive concurrency: squeeze the service now and then, and compare with how fast it was then.

    g = clamp(minRTT * 1.25 / RTT, 0.5, 2)      L' = g L + sqrt(g L), within [3, 1000]

every 0.25 s with RTT the median of what finished since. minRTT is the median of 50 requests that
*started* while L was pinned to 3; it is measured at the start, then every 60 s to 69 s, and at once
after L was 3 for five updates.
Regimes: after a squeeze L doubles until RTT shows it; in overload it hovers where RTT is 1.25 minRTT,
plus the square root. While it is squeezed almost everything is refused, and 50 answers of an LLM, three
at a time, take minutes.
Source: Envoy's adaptive concurrency filter, `gradient_controller`; its documentation's example for the
two intervals, which have no default.
"""

from collections import deque
from math import inf, sqrt
from statistics import median

from adapters.fakellmd.draws import mix, uniform

LEAST, MOST = 3, 1000
UPDATE_S = 0.25
REMEASURE_S, JITTER = 60.0, 0.15
BUFFER = 0.25
SQUEEZED_REQUESTS = 50
UPDATES_AT_LEAST = 5
MAX_SAMPLES = 10_000


class Envoy:
    """One limiter. `seed` spreads its squeezes."""

    name = "envoy"
    deadline_aware = True
    ttl_s: float | None = None

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._limit = LEAST
        self._deferred: int | None = LEAST
        """The limit to come back to after the squeeze; None while there is none."""
        self._epoch_s = -inf
        """When the last squeeze began. What started before it teaches nothing."""
        self._min_rtt_s = inf
        self._rtts_s: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._next_update_s = -inf
        self._next_squeeze_s = inf
        self._squeezes = 0
        self._at_least = 0

    @property
    def limit(self) -> float:
        return float(self._limit)

    def started(self, now_s: float, inflight: int) -> None:
        pass

    def finished(self, now_s: float, rtt_s: float, inflight: int, ok: bool) -> None:
        if not ok or now_s - rtt_s < self._epoch_s:
            return
        self._rtts_s.append(rtt_s)
        if self._deferred is not None and len(self._rtts_s) >= SQUEEZED_REQUESTS:
            self._release(now_s, self._deferred)

    def tick(self, now_s: float) -> None:
        if self._deferred is not None:
            return
        if now_s >= self._next_squeeze_s:
            self._squeeze(now_s)
        elif now_s >= self._next_update_s:
            self._next_update_s = now_s + UPDATE_S
            if self._rtts_s:
                self._update(now_s, self._taken_median_s())

    def _squeeze(self, now_s: float) -> None:
        self._deferred = self._limit
        self._limit = LEAST
        self._at_least = 0
        self._rtts_s.clear()
        self._epoch_s = now_s

    def _release(self, now_s: float, limit: int) -> None:
        self._min_rtt_s = self._taken_median_s()
        self._limit = limit
        self._deferred = None
        later = uniform(mix(self._seed, self._squeezes)) * JITTER
        self._squeezes += 1
        self._next_squeeze_s = now_s + REMEASURE_S * (1.0 + later)
        self._next_update_s = now_s + UPDATE_S

    def _update(self, now_s: float, rtt_s: float) -> None:
        gradient = min(max(self._min_rtt_s * (1.0 + BUFFER) / rtt_s, 0.5), 2.0)
        carried = gradient * self._limit
        limit = min(max(int(carried + sqrt(carried)), LEAST), MOST)
        self._at_least = self._at_least + 1 if limit == self._limit == LEAST else 0
        self._limit = limit
        if self._at_least >= UPDATES_AT_LEAST:
            self._next_squeeze_s = now_s

    def _taken_median_s(self) -> float:
        taken = median(self._rtts_s)
        self._rtts_s.clear()
        return taken
