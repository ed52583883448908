"""The rivals that learn nothing: no limit at all, and a constant one.

`none` sends everything on at once, so requests queue in the engine. `static:N` is llm-d's flow control
with its concurrency detector: N requests, first come first served, and whoever waited 60 s is
refused. Source: llm-d's inference scheduler, whose defaults are 100 and 60 s.
"""

from math import inf

STATIC_TTL_S = 60.0


class Fixed:
    """A limit that never moves."""

    deadline_aware = False

    def __init__(self, name: str, limit: float, ttl_s: float | None) -> None:
        self.name = name
        self.limit = limit
        self.ttl_s = ttl_s

    def started(self, now_s: float, inflight: int) -> None:
        pass

    def finished(self, now_s: float, rtt_s: float, inflight: int, ok: bool) -> None:
        pass

    def tick(self, now_s: float) -> None:
        pass


def unlimited() -> Fixed:
    """Every request at once; nobody waits."""
    return Fixed("none", inf, None)


def static(limit: int) -> Fixed:
    """`limit` requests at once, the others wait up to a minute."""
    return Fixed(f"static:{limit}", float(limit), STATIC_TTL_S)
