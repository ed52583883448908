"""Netflix's Vegas limit: keep the estimated queue between alpha and beta requests.

    queue = ceil(L * (1 - RTT_noload / RTT))      with RTT_noload the shortest RTT since the last probe
    a = log10 L, whole and at least 1; alpha = 3a, beta = 6a
    queue <= a: L + beta    queue < alpha: L + a    queue > beta: L - a    else: L
    dropped: L - a          in flight < L/2: L

for each finished request; about every 30 L requests the next RTT, whatever it is, becomes RTT_noload.
Regimes: an idle service makes L grow fast; a long RTT makes it shrink slowly. It takes the spread of
RTT for queueing, and an LLM's RTT spreads with the length of its answers.
Source: `Netflix/concurrency-limits`, `VegasLimit` (the default of its limiters), and the TCP law of
Brakmo & Peterson 1994.
"""

from math import ceil, inf, log10

from adapters.fakellmd.draws import mix, uniform

INITIAL, LEAST, MOST = 20.0, 1.0, 1000.0
PROBE_MULTIPLIER = 30


class Vegas:
    """One limiter. `seed` spreads its probes: each comes after 15 L to 30 L requests."""

    name = "vegas"
    deadline_aware = True
    ttl_s: float | None = None

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._limit = INITIAL
        self._noload_s = inf
        self._since_probe = 0
        self._probes = 0

    @property
    def limit(self) -> float:
        return float(int(self._limit))

    def started(self, now_s: float, inflight: int) -> None:
        pass

    def tick(self, now_s: float) -> None:
        pass

    def finished(self, now_s: float, rtt_s: float, inflight: int, ok: bool) -> None:
        self._since_probe += 1
        if self._probe_due():
            self._probes += 1
            self._since_probe = 0
            self._noload_s = rtt_s
        elif rtt_s < self._noload_s:
            self._noload_s = rtt_s
        else:
            moved = self._limit + self._step(rtt_s, inflight, ok)
            self._limit = min(max(moved, LEAST), MOST)

    def _probe_due(self) -> bool:
        spread = 0.5 + 0.5 * uniform(mix(self._seed, self._probes))
        return self._since_probe >= spread * PROBE_MULTIPLIER * self._limit

    def _step(self, rtt_s: float, inflight: int, ok: bool) -> int:
        """By how much the limit moves."""
        scale = max(int(log10(self._limit)), 1)
        queue = ceil(self._limit * (1.0 - self._noload_s / rtt_s))
        if not ok:
            return -scale
        if inflight * 2 < self._limit:
            return 0
        if queue <= scale:
            return 6 * scale
        if queue < 3 * scale:
            return scale
        return -scale if queue > 6 * scale else 0
