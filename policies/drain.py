"""How fast a queue empties: dispatches a second, measured. What waits, divided by it, is the wait.

Measured drain and not a latency model: near saturation a model that is 22% off in capacity is off by
orders of magnitude in waiting time (BLIS, on real vLLM runs).
Must stay true: only time in which somebody waited lowers what is measured. What is dispatched while
nobody waits is what was asked for, and says no more than that so much can be done.
"""

ALPHA = 0.3
FOLD_S = 1.0
"""Dispatches are counted over this long before they move the average."""
STALE_S = 30.0
"""After so long without a measurement nothing is known any more: whoever comes may wait and see."""


class Drain:
    """Dispatches per second: an average over seconds, or the last second where that was faster."""

    def __init__(self) -> None:
        self._rate = self._last = 0.0
        self._fold_s = float("-inf")
        self._count = 0
        self._busy = False
        self._whole = False
        """Somebody has waited through all of the open fold."""
        self._measured_s = float("-inf")

    def mark(self, now_s: float) -> None:
        """One request was dispatched."""
        if now_s - self._fold_s >= FOLD_S:
            self._fold(now_s)
        self._count += 1

    def busy(self, now_s: float, somebody_waits: bool) -> None:
        """From now on somebody waits, or nobody does any more."""
        self._fold(now_s)
        self._busy = somebody_waits
        self._whole = somebody_waits and (self._whole or self._fold_s == now_s)

    def per_s(self, now_s: float) -> float | None:
        """None: nothing has been measured, or not for a while."""
        self._fold(now_s)
        return max(self._rate, self._last) if now_s - self._measured_s <= STALE_S else None

    def _fold(self, now_s: float) -> None:
        elapsed_s = now_s - self._fold_s
        if elapsed_s < FOLD_S:
            return
        self._last = self._count / elapsed_s
        if self._whole:
            # A long silence is many folds at once: the old average must not outlive it.
            known = self._fold_s - self._measured_s <= STALE_S
            keep = (1.0 - ALPHA) ** (elapsed_s / FOLD_S) if known else 0.0
            self._rate = keep * self._rate + (1.0 - keep) * self._last
            self._measured_s = now_s
        self._fold_s, self._count, self._whole = now_s, 0, self._busy
