"""Whether the wait that arrivals are refused for is predicted well enough to refuse anybody for it.

Two checks on itself: waits that were said and came otherwise, and probes, a hundredth of those who
would have been refused and are let in instead. Where either says the prediction is wrong, nobody is
refused on arrival for a while; the check at the head of the queue needs no prediction of waits.
Probes also keep a loop from starving itself of evidence (llm-d's 1% epsilon).
"""

PROBE_EVERY = 100
MIN_SAMPLES = 30
ALPHA = 0.1
MAX_ERROR = 0.5
"""Mean error of predicted waits above which they are not used: 0.5 is a factor of two. Relative to the
longer of what was said and what came. Relative to what came alone (control.md C5) a few lucky short
waits spoil the mean, and the prediction was distrusted for most of a lasting overload."""
MAX_PROBE_SUCCESS = 0.2
MIN_PROBES, MAX_PROBES = 10, 50
"""Probes that say something; and how many of them count, so that an old truth does not outvote a new one."""
DISTRUST_S = 30.0
SHORT_WAIT_S = 0.25
"""Waits below this count as this long: a wait of nothing would make any error infinite."""
MAX_OPEN = 8192


class Prediction:
    """One queue's. Request numbers are the queue's."""

    def __init__(self) -> None:
        self._said: dict[int, float] = {}
        self._probes: set[int] = set()
        self._refusals = 0
        self._error = 0.0
        self._samples = 0
        self._probed = self._succeeded = 0.0
        self._distrusted_until_s = float("-inf")

    @property
    def mean_error(self) -> float | None:
        """Of predicted waits, from 0 to 1; None: too few."""
        return self._error if self._samples >= MIN_SAMPLES else None

    def trusted(self, now_s: float) -> bool:
        return now_s >= self._distrusted_until_s

    def probe(self, request: int) -> bool:
        """Somebody is about to be refused: whether it is let in as a probe instead."""
        self._refusals += 1
        if self._refusals % PROBE_EVERY or len(self._probes) >= MAX_OPEN:
            return False
        self._probes.add(request)
        return True

    def is_probe(self, request: int) -> bool:
        return request in self._probes

    def said(self, request: int, wait_s: float) -> None:
        """It was let in to wait about this long."""
        if len(self._said) < MAX_OPEN:
            self._said[request] = wait_s

    def waited(self, request: int, wait_s: float, now_s: float) -> None:
        """It was admitted after this long."""
        said_s = self._said.pop(request, None)
        if said_s is None:
            return
        error = abs(said_s - wait_s) / max(wait_s, said_s, SHORT_WAIT_S)
        self._samples += 1
        self._error += max(ALPHA, 1.0 / self._samples) * (error - self._error)
        if self._samples >= MIN_SAMPLES and self._error > MAX_ERROR:
            self._distrust(now_s)

    def came(self, request: int, *, in_time: bool, now_s: float) -> None:
        """A running request's first token came; only probes count."""
        if request not in self._probes:
            return
        self._probes.discard(request)
        self._probed += 1.0
        self._succeeded += in_time
        if self._probed >= MIN_PROBES and self._succeeded > MAX_PROBE_SUCCESS * self._probed:
            self._distrust(now_s)
        elif self._probed >= MAX_PROBES:
            self._probed, self._succeeded = self._probed / 2, self._succeeded / 2

    def forget(self, request: int) -> None:
        """It left before anything could be learned from it."""
        if request in self._said:
            del self._said[request]
        if request in self._probes:
            self._probes.remove(request)

    def _distrust(self, now_s: float) -> None:
        self._distrusted_until_s = now_s + DISTRUST_S
        self._samples = 0
        self._error = self._probed = self._succeeded = 0.0
