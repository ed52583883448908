"""How many retries a pool can bear: a share of its requests, so that a failing backend is not hammered. Pure.

A bucket: each request puts in `share`, each retry takes one out. `RESERVE` retries are there to begin with and
trickle in again at `PER_S`, so that a quiet pool can retry at all. In a total outage the load on the backend is
then (1 + share) times the requests, and not (1 + retries) times. Source: Finagle's RetryBudget (ratio, and a
minimum a second).
"""

RESERVE = 10.0
PER_S = 0.5
MAX_SAVED = 100.0
"""What a busy, healthy hour can save up for the outage after it."""


class RetryBudget:
    """One pool's. Times are seconds on one monotonic clock, never going back."""

    def __init__(self, share: float) -> None:
        """`share` of the requests may be retries, from 0 to 1; 0: none at all."""
        self._share = share
        self._saved = RESERVE if share else 0.0
        self._filled_s: float | None = None
        self.requests = 0
        """Those that came since somebody asked: to be counted when they come for the first time."""

    def allows(self, now_s: float) -> bool:
        """Whether one could be repeated now. Nothing is taken."""
        self._fill(now_s)
        return self._saved >= 1.0

    def take(self, now_s: float) -> bool:
        """Whether one may be repeated now; if so it is counted."""
        if not self.allows(now_s):
            return False
        self._saved -= 1.0
        return True

    def _fill(self, now_s: float) -> None:
        """From what came and, up to the reserve only, from time: alone it saves nothing for a storm."""
        self._saved = min(self._saved + self._share * self.requests, MAX_SAVED)
        self.requests = 0
        if self._filled_s is not None and self._share and self._saved < RESERVE:
            self._saved = min(self._saved + PER_S * (now_s - self._filled_s), RESERVE)
        self._filled_s = now_s
