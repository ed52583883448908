"""A recorder that only remembers: what an executor told about a request, in order."""

from collections.abc import Sequence

from contracts.errors import GatewayError
from contracts.inference import Target
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.pools import Pool
from gateway.slot import Slot
from policies.flight import Flight


class Remembering:
    """Enters every pool with priority 0 and no deadline."""

    def __init__(self, priority: int = 0) -> None:
        self.flight = Flight(
            1,
            intent="",
            model="m",
            lane=("", ""),
            caller="",
            priority=priority,
            prompt_tokens=1,
            arrived_s=0.0,
        )
        self.told: list[str] = []

    def enter(self, pool: Pool, target: Target, avoid: Sequence[Endpoint]) -> Entry:
        return pool.enter(self.flight.priority, avoid, lane=target.upstream)

    def prefill_s(self, pool: Pool, target: Target) -> float | None:
        return None

    def dispatched(self, target: Target, slot: Slot) -> None:
        self.told.append(f"dispatched to {slot.endpoint.where}")

    def head(self, queue_s: float | None) -> None:
        self.told.append("head")

    def first_token(self, at_s: float) -> None:
        self.told.append("first token")

    def attempt_failed(self, error: GatewayError) -> None:
        self.told.append(f"failed: {error.code}")

    def chosen(self, target: Target, slot: Slot, dispatched_s: float) -> None:
        self.told.append(f"it is {slot.endpoint.where}")

    def stream_broke(self, error: GatewayError) -> None:
        self.told.append(f"broke: {error.code}")
