"""The requests that an endpoint picker has sent to pods and has not seen end. Pure.

What the concurrency detector counts, what eviction chooses its victims from, and what the latency
predictor knows of the promises already made on a pod. Each request is in here once, from its
dispatch to its end. Source: llm-d-router `inflightload/producer.go`, `eviction/request_evictor.go`.
"""

from collections.abc import Iterable

import msgspec

from adapters.fakellmd.epp_headers import Wants
from adapters.fakellmd.saturation import Load


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One inference request, as the endpoint picker sees it. `id` is the caller's, unique while it lives."""

    id: int
    model: str
    """The name in the body; `target` is the one that serves."""
    target: str
    wants: Wants
    priority: int
    prompt_tokens: int
    body_bytes: int
    received_s: float
    stream: bool = False


class Flight:
    """A call under way. `pod` None: it is being placed."""

    __slots__ = ("call", "order", "pod")

    def __init__(self, call: Call, order: int) -> None:
        self.call = call
        self.order = order
        self.pod: int | None = None


class InFlight:
    """Calls by number, in the order of their dispatch."""

    def __init__(self, pods: int) -> None:
        self._flights: dict[int, Flight] = {}
        self._requests = [0] * pods
        self._tokens = [0] * pods
        self._dispatched = 0

    def __len__(self) -> int:
        return len(self._flights)

    def flights(self) -> Iterable[Flight]:
        return self._flights.values()

    def add(self, call: Call) -> None:
        self._dispatched += 1
        self._flights[call.id] = Flight(call, self._dispatched)

    def place(self, call_id: int, pod: int) -> None:
        """It went to `pod`. Raises KeyError for a call that is not in flight."""
        flight = self._flights[call_id]
        flight.pod = pod
        self._requests[pod] += 1
        self._tokens[pod] += flight.call.prompt_tokens

    def remove(self, call_id: int) -> Call | None:
        """It ended. None: it was not in flight."""
        flight = self._flights.pop(call_id, None)
        if flight is None:
            return None
        if flight.pod is not None:
            self._requests[flight.pod] -= 1
            self._tokens[flight.pod] -= flight.call.prompt_tokens
        return flight.call

    def load(self, pod: int) -> Load:
        return Load(self._requests[pod], self._tokens[pod])

    def tightest_tpot_s(self, pod: int) -> float:
        """The smallest TPOT objective among what runs on a pod; 0 if nothing there has one.

        A request without an id is not tracked.
        """
        promised = [
            flight.call.wants.tpot_slo_s
            for flight in self._flights.values()
            if flight.pod == pod and flight.call.wants.tpot_slo_s and flight.call.wants.request_id
        ]
        return min(promised, default=0.0)

    def tracked(self) -> int:
        """How many calls eviction knows of: those with a request id."""
        return sum(1 for flight in self._flights.values() if flight.call.wants.request_id)

    def victims(self) -> list[Call]:
        """Who may be evicted, first the first: lowest priority, then newest. Never a priority >= 0."""
        evictable = [
            flight
            for flight in self._flights.values()
            if flight.call.priority < 0 and flight.call.wants.request_id
        ]
        evictable.sort(key=lambda flight: (flight.call.priority, -flight.order))
        return [flight.call for flight in evictable]
