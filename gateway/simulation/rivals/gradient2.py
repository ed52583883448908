"""Netflix's Gradient2 limit: compare the RTT of now with the RTT of long ago.

    g = clamp(1.5 * RTT_long / RTT, 0.5, 1)      L' = 0.8 L + 0.2 (g L + 4), within [20, 200]

once a window of at least 1 s and 10 requests, with RTT their mean. RTT_long is an exponential mean of
600 windows (plain over its first 10) and shrinks by 5 % while it is more than twice RTT. L does not
change while less than half of it was in use.
Regimes: while RTT is below 1.5 RTT_long, L goes up by 0.8 a window; above, it goes down. Under lasting
overload RTT_long drifts up to the overloaded RTT, and the limit no longer limits.
Source: `Netflix/concurrency-limits`, `Gradient2Limit` inside its `WindowedLimit`. The original throws
a window away that has fewer than 10 requests; here it lasts until it has them, or below 10 requests/s
the limit would never move.
"""

INITIAL, LEAST, MOST = 20.0, 20.0, 200.0
WINDOW_S, WINDOW_REQUESTS = 1.0, 10
TOLERANCE, SMOOTHING, QUEUE = 1.5, 0.2, 4.0
LONG_WINDOWS, WARMUP_WINDOWS = 600, 10
RECOVERY = 0.95


class Gradient2:
    """One limiter."""

    name = "gradient2"
    deadline_aware = True
    ttl_s: float | None = None

    def __init__(self) -> None:
        self._limit = INITIAL
        self._long_s = 0.0
        self._windows = 0
        self._window_ends_s = 0.0
        self._count = self._most_inflight = 0
        self._total_s = 0.0

    @property
    def limit(self) -> float:
        return float(int(self._limit))

    def started(self, now_s: float, inflight: int) -> None:
        pass

    def tick(self, now_s: float) -> None:
        pass

    def finished(self, now_s: float, rtt_s: float, inflight: int, ok: bool) -> None:
        """The law makes no use of `ok`: a failed request's RTT counts like any other."""
        self._count += 1
        self._total_s += rtt_s
        self._most_inflight = max(self._most_inflight, inflight)
        if now_s > self._window_ends_s and self._count >= WINDOW_REQUESTS:
            self._update(self._total_s / self._count, self._most_inflight)
            self._window_ends_s = now_s + WINDOW_S
            self._count = self._most_inflight = 0
            self._total_s = 0.0

    def _update(self, short_s: float, inflight: int) -> None:
        long_s = self._lengthen(short_s)
        if inflight < self._limit / 2.0:
            return
        gradient = min(max(TOLERANCE * long_s / short_s, 0.5), 1.0)
        wanted = gradient * self._limit + QUEUE
        moved = (1.0 - SMOOTHING) * self._limit + SMOOTHING * wanted
        self._limit = min(max(moved, LEAST), MOST)

    def _lengthen(self, short_s: float) -> float:
        """The long RTT with this window in it."""
        self._windows += 1
        weight = (
            1.0 / self._windows if self._windows <= WARMUP_WINDOWS else 2.0 / (LONG_WINDOWS + 1)
        )
        long_s = self._long_s + weight * (short_s - self._long_s)
        self._long_s = long_s * RECOVERY if long_s > 2.0 * short_s else long_s
        return long_s
