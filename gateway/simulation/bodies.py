"""What the world needs of a controller: Setpoint's own body, or a rival's law before the same engines.

The world calls a body at the same moments as the gateway's executor calls the loop. Must stay true: a
body decides and the world carries out; who waits where is a queue's affair, and the effects of a
queue go to the world alone.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from contracts.catalog import ModelCard
from contracts.control import LoopDecision
from gateway.simulation.engines import Engines, Lane
from gateway.simulation.outcome import Outcome
from gateway.simulation.trace import Arrival
from policies.admission import AdmissionQueue
from policies.flight import Flight
from policies.lines import Ticket

UNLIMITED = 1_000_000_000
"""What a queue takes for "no limit"."""


class Asked(msgspec.Struct, kw_only=True, gc=False):
    """A request on its way: where it goes, and what is known of it."""

    number: int
    arrival: Arrival
    outcome: Outcome
    lane: Lane
    queue: AdmissionQueue
    ticket: Ticket
    card: ModelCard
    output_tokens: int
    capped: bool
    """Its answer ends before it is complete."""
    flight: Flight | None = None


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a body looks like at one moment, over all its queues."""

    inflight: int
    waiting: int
    limits: Mapping[Lane, float]
    """Of those that have one."""
    rungs: Mapping[str, int]
    """Actions in force, by intent."""


class Body(Protocol):
    """A controller. All times are the world's."""

    @property
    def queues(self) -> Sequence[AdmissionQueue]:
        """All queues there will ever be."""

    @property
    def flaps(self) -> int:
        """Actions that were taken again soon after they had been given back."""

    def ask(self, number: int, arrival: Arrival, now_s: float) -> tuple[Outcome, Asked | None]:
        """Decide about a newcomer. What is to be queued, or None where it has met its fate."""

    def dispatched(self, asked: Asked, waited_s: float, now_s: float) -> None: ...

    def first_token(self, asked: Asked, now_s: float) -> None: ...

    def ended(self, asked: Asked, now_s: float, *, failed: bool) -> None:
        """Before the queue is told, so that a new limit holds for the place that comes free."""

    def turned_away(self, asked: Asked, now_s: float) -> None:
        """It waited, or was about to, and was refused by its queue."""

    def tick(self, now_s: float, engines: Engines) -> list[LoopDecision]:
        """The world wakes the queues after it."""

    def sight(self, now_s: float) -> Sight: ...
