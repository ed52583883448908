"""Whether an endpoint that failed lately is to be left alone for a while. Pure.

A breaker steers, it does not refuse: whoever has nowhere else to go is sent there all the same, and hears
the backend's own error. What counts as a failure is the caller's to say (`breaks`): engines that fail,
hang or drop streams, never requests that are wrong.

Regimes: closed, failures within the window are counted and a success clears nothing (an engine that
fails half its streams is failing). Open, for `cooldown_s`. Then half open: one request at a time is
sent as a probe; a success closes it, a failure opens it for twice as long, up to COOLDOWN_MAX_S (or its own
`cooldown_s`, where that is more), so that an engine that comes back is used again soon and one that stays
away is asked seldom.
"""

from collections import deque
from typing import Literal

import msgspec

from contracts.errors import ConnectFailed, FaultClass, GatewayError, UpstreamFault

COOLDOWN_MAX_S = 20.0
"""An engine that is well again is asked within this time and the gap to the next request."""
PROBE_PATIENCE_S = 60.0
"""A probe that is not heard of for so long does not keep the next one waiting."""

State = Literal["closed", "open", "half_open"]
_BREAKING: frozenset[FaultClass] = frozenset(
    {"overload", "unavailable", "upstream_bug", "stream_broken", "timeout"}
)
"""What says something about the engine. A 429 is its owner's limit, an SLO shed its scheduler's choice."""


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` within `window_s` open it for `cooldown_s` at first."""

    failures: int = 5
    window_s: float = 30.0
    cooldown_s: float = 5.0


def breaks(error: GatewayError) -> bool:
    """Whether it counts against the endpoint that it came from. Never a 4xx: whatever it is called, an
    engine that answers with one works, and says that it does not want this, or not now."""
    if isinstance(error, ConnectFailed):
        return True
    if not isinstance(error, UpstreamFault) or error.fault not in _BREAKING:
        return False
    return error.upstream_status is None or error.upstream_status >= 500


class Breaker:
    """One endpoint's. Times are seconds on one monotonic clock."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._failed_s: deque[float] = deque(maxlen=settings.failures)
        self._open_until_s: float | None = None
        self._cooldown_s = settings.cooldown_s
        self._probe_since_s: float | None = None
        self._overtaken = 0
        """In a row."""

    def state(self, now_s: float) -> State:
        if self._open_until_s is None:
            return "closed"
        return "open" if now_s < self._open_until_s else "half_open"

    def allows(self, now_s: float) -> bool:
        """Whether a request may be sent there without need."""
        match self.state(now_s):
            case "closed":
                return True
            case "open":
                return False
            case "half_open":
                probing_s = self._probe_since_s
                return probing_s is None or now_s - probing_s >= PROBE_PATIENCE_S

    def sent(self, now_s: float) -> bool:
        """A request goes there. Whether it is the probe: tell so what becomes of it."""
        if self.state(now_s) != "half_open" or not self.allows(now_s):
            return False
        self._probe_since_s = now_s
        return True

    def succeeded(self) -> None:
        """An answer came to its proper end. While it is open this is the news that it works again."""
        self._overtaken = 0
        if self._open_until_s is not None:
            self._open_until_s = self._probe_since_s = None
            self._cooldown_s = self._settings.cooldown_s
            self._failed_s.clear()

    def failed(self, now_s: float, *, probe: bool = False) -> bool:
        """An answer failed in a way that `breaks`. True where this opens it, for whoever logs that."""
        self.abandoned(probe=probe)
        if self._open_until_s is not None:
            # While open, what fails was sent earlier or for want of anything else: no news.
            if now_s < self._open_until_s:
                return False
            most_s = max(COOLDOWN_MAX_S, self._settings.cooldown_s)
            self._cooldown_s = min(2 * self._cooldown_s, most_s)
            return self._open(now_s)
        self._failed_s.append(now_s)
        full = len(self._failed_s) == self._settings.failures
        if not full or now_s - self._failed_s[0] > self._settings.window_s:
            return False
        return self._open(now_s)

    def overtaken(self, now_s: float, *, probe: bool = False) -> bool:
        """An attempt that began later, elsewhere, had content first. That may happen to anybody; as many in a
        row as `failures`, without an answer between, are one that hangs. True where this opens it."""
        self._overtaken += 1
        if self._overtaken < self._settings.failures:
            self.abandoned(probe=probe)
            return False
        if self._open_until_s is None:
            return self._open(now_s)
        return self.failed(now_s, probe=probe)

    def abandoned(self, *, probe: bool) -> None:
        """What was sent there ended without saying anything about the engine: its client left, or the
        request was wrong. If it was the probe, the next request is."""
        if probe:
            self._probe_since_s = None

    def _open(self, now_s: float) -> bool:
        self._open_until_s = now_s + self._cooldown_s
        return True
