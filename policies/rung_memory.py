"""What a ladder remembers of a rung between the times that it is held: what load it was needed at, for
how long that is believed, and whether it was of use at all. Plain arithmetic on times; what to do with
it is the ladder's affair.
"""

import math

import msgspec

LOAD_SPAN_S = 30
"""What a load is counted over."""
LOAD_SIGMAS = 2.0
"""A count of n is only known to about its square root: of 60 requests in half a minute, a fifth is lost
by mere chance several times an hour."""
CALM_S = 30.0
"""How long a promise must be kept with room to spare before a rung is given back."""
RELIEF = 0.8
"""A rung may be given back when the load is below this share of what it was taken at."""
TRUST_S = 1800.0
"""How long it is believed that this load needs the rung."""
QUARANTINE_S = 600.0
FLAP_FACTOR = 2.0
"""Taken again before it was away for so many times as long as it had been held: it should not have been
given back."""
CLEAN_S = 3600.0
"""Away for so long, one such mistake is forgotten."""
BACKOFF_MAX = 6


class RungMemory(msgspec.Struct):
    """One rung's. Times are on the loop's clock."""

    load_rps: float = 0.0
    trusted_until_s: float = 0.0
    left_s: float = float("-inf")
    dwell_s: float = 0.0
    again: int = 0
    """How often it was taken again soon after it had been given back."""
    banned_until_s: float = float("-inf")
    bans: int = 0
    proven_for: str = ""
    """The objective that it was confirmed to mend when it was held last."""

    @property
    def patience_s(self) -> float:
        """How long there must be calm before it is given back."""
        return CALM_S * 2.0**self.again

    def entered(self, load_rps: float, now_s: float) -> bool:
        """It is taken at this load. Returns whether that is soon after it was given back."""
        away_s = now_s - self.left_s
        soon = away_s < FLAP_FACTOR * max(self.dwell_s, CALM_S)
        if soon:
            self.again = min(self.again + 1, BACKOFF_MAX)
        elif self.again:
            self.again = max(self.again - int(away_s // CLEAN_S), 0)
        self.load_rps = load_rps
        self.trusted_until_s = now_s + TRUST_S * 2.0**self.again
        return soon

    def still(self, load_rps: float, since_s: float, now_s: float) -> None:
        """It is held since then. What a load is counted over reaches back before a step that made the
        rung necessary, so the count of the next half minute is part of what it was needed at."""
        if now_s - since_s <= LOAD_SPAN_S:
            self.load_rps = max(self.load_rps, load_rps)

    def left(self, since_s: float, now_s: float) -> None:
        """It was held from `since_s` until now."""
        self.left_s, self.dwell_s = now_s, now_s - since_s

    def ban(self, now_s: float) -> None:
        """It was of no use: not again for a while, and longer each time."""
        self.proven_for = ""
        self.banned_until_s = now_s + QUARANTINE_S * 2.0**self.bans
        self.bans = min(self.bans + 1, BACKOFF_MAX)

    def proved(self, objective: str) -> None:
        """It was of use for that objective."""
        self.bans = 0
        self.proven_for = objective

    def needed_again(self, objective: str, now_s: float) -> bool:
        """Whether it mended this objective, and was given back not long ago: then there is no need to try
        gentler rungs first."""
        soon_s = FLAP_FACTOR * max(self.dwell_s, CALM_S)
        return self.proven_for == objective and now_s - self.left_s < soon_s

    def banned(self, now_s: float) -> bool:
        return now_s < self.banned_until_s

    def relieved(self, load_rps: float, now_s: float) -> bool:
        """Whether the load is surely no longer what it was needed at, or that is no longer believed."""
        doubt_rps = LOAD_SIGMAS * math.sqrt(load_rps / LOAD_SPAN_S)
        return load_rps + doubt_rps < RELIEF * self.load_rps or now_s >= self.trusted_until_s
