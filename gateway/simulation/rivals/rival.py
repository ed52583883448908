"""What a rival is: a law that says how many requests may be in flight, told what became of each.

Rivals exist for comparison in the simulator and never decide about a real request. Each is written
anew from the published description of its law, with the defaults that its authors ship, and is pure:
time is an argument, chance is drawn from a seed. Where a description leaves room, the
reading that serves the rival better was taken, and the file says so.

A limit alone says nothing about who waits how long. `deadline_aware` rivals get Setpoint's own queue
in front (drop whoever can no longer make its TTFT objective), which their authors never gave them and
which is worth more than any of the laws; the others get a plain first-come-first-served queue with
the timeout that they ship with.
"""

from typing import Protocol


class Rival(Protocol):
    """A limiter. `now_s` never goes back; `rtt_s` is dispatch to last token, above 0."""

    name: str
    """As the operator spells it: `static:43`."""
    deadline_aware: bool
    ttl_s: float | None
    """How long a request may wait in the queue; None: no longer than `deadline_aware` allows, if that."""

    @property
    def limit(self) -> float:
        """How many requests may be in flight: at least 1, infinite where there is no limit."""

    def started(self, now_s: float, inflight: int) -> None:
        """A request was dispatched. `inflight` counts it."""

    def finished(self, now_s: float, rtt_s: float, inflight: int, ok: bool) -> None:
        """A dispatched request ended; `inflight` still counts it. Not `ok`: the backend failed it."""

    def tick(self, now_s: float) -> None:
        """Time passed. To be called a few times a second, whether anything happened or not."""
