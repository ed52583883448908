"""What is left of one run: every request as its client saw it, and what the gateway said meanwhile. A value."""

from typing import Literal

import msgspec

from gateway.demo.exchange import Exchange
from gateway.demo.watcher import Heard, Sight

RunName = Literal["loop off", "loop on"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`ended_s` is when the last answer was in."""

    run: RunName
    exchanges: tuple[Exchange, ...]
    sights: tuple[Sight, ...]
    heard: tuple[Heard, ...]
    ended_s: float
    errors: tuple[str, ...] = ()
    """What the gateway's log had to complain of, some of it."""

    @property
    def client_lag_s(self) -> float:
        """How late the client itself was with 1 request in 100, at least."""
        lags = sorted(x.sent_s - x.arrival.at_s for x in self.exchanges if x.sent_s is not None)
        return lags[int(0.99 * len(lags))] if lags else 0.0
