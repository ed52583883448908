"""What happens to a request, as a worker tells it and as the hub's control loop hears it.

The loop is told by the hub exactly what the workers were told, with the times at which it happened: only
later, by a tick. Must stay true: of a request that the hub does not know (its beginning was lost) nothing is
counted; what one worker says changes nothing of another's requests.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from gateway.workers.messages import Event
from policies.admission import AdmissionQueue
from policies.flight import Flight
from policies.honour import Honour
from policies.loop import Loop

OFFERED, DISPATCHED, FLOW_QUEUED, FIRST_TOKEN, TOKENS, FAILED = range(6)
REFUSED, CANCELLED, ENDED, HONOUR, RESET, CHOSEN = range(6, 12)


def offered(flight: Flight) -> Event:
    """The first of each request."""
    return (
        OFFERED,
        flight.request,
        flight.intent,
        flight.model,
        flight.lane,
        flight.caller,
        flight.priority,
        flight.prompt_tokens,
        flight.arrived_s,
        flight.weight,
        flight.max_tokens,
        flight.ttft_objective_s,
        flight.tpot_objective_s,
        flight.e2e_objective_s,
        flight.treated,
        flight.held_out,
        flight.patient,
    )


class Hearing:
    """The hub's ear for one worker. `numbers` are the loop's own, over all workers."""

    def __init__(
        self,
        loop: Loop,
        queues: Mapping[str, AdmissionQueue],
        honours: Mapping[str, Honour],
        numbers: "itertools.count[int]",
    ) -> None:
        self._loop = loop
        self._queues = queues
        self._honours = honours
        self._numbers = numbers
        self._flights: dict[int, Flight] = {}

    @property
    def under_way(self) -> int:
        return len(self._flights)

    def forget(self, now_s: float) -> None:
        """The worker is gone, or has lost count: what it had under way is no evidence of anything."""
        for flight in self._flights.values():
            self._loop.cancelled(flight, now_s)
        self._flights.clear()

    def hear(self, event: Event) -> None:
        """One event, in the order in which they happened."""
        match event:
            case (9, pool, objective, priority, queue_s, now_s, sent_s):
                if (honour := self._honours.get(pool)) is not None:
                    honour.answered(objective, priority, queue_s, now_s, sent_s=sent_s)
            case (0, number, *told):
                self._begin(number, told)
            case (what, number, *told):
                if (flight := self._flights.get(number)) is not None:
                    self._go_on(what, number, flight, told)

    def _begin(self, number: int, told: list[Any]) -> None:
        names = (
            "intent", "model", "lane", "caller", "priority", "prompt_tokens", "arrived_s", "weight",
            "max_tokens", "ttft_objective_s", "tpot_objective_s", "e2e_objective_s", "treated",
            "held_out", "patient",
        )  # fmt: skip
        fields = dict(zip(names, told, strict=True))
        for name in ("lane", "treated", "held_out"):
            fields[name] = tuple(fields[name])  # msgpack has lists only
        # Its ticket stays 0: it is in a worker's queue, and in none of the hub's.
        flight = Flight(next(self._numbers), **fields)
        self._flights[number] = flight
        self._loop.offered(flight)

    def _go_on(self, what: int, number: int, flight: Flight, told: list[Any]) -> None:
        loop = self._loop
        match (what, *told):
            case (1, pool, model, waited_s, input_usd, output_usd, now_s):
                flight.input_usd, flight.output_usd = input_usd, output_usd
                loop.dispatched(flight, (pool, model), waited_s, now_s)
            case (2, queue_s, now_s):
                loop.flow_queued(flight, queue_s, now_s)
            case (3, now_s):
                self._learn(flight, now_s)
                loop.first_token(flight, now_s)
            case (4, tokens, last_s):
                flight.tokens, flight.last_s = tokens, last_s
            case (5, tokens, refusal, now_s):
                flight.tokens = tokens
                loop.attempt_failed(flight, refusal, now_s)
            case (10,):  # the next attempt counts from nought
                flight.tokens = flight.reported_tokens = 0
            case (11, pool, model, dispatched_s, input_usd, output_usd):
                flight.lane, flight.dispatched_s = (pool, model), dispatched_s
                flight.input_usd, flight.output_usd = input_usd, output_usd
            case (6, shed, now_s):
                del self._flights[number]
                loop.refused(flight, now_s, shed=shed)
            case (7, tokens, now_s):
                del self._flights[number]
                flight.tokens = tokens
                loop.cancelled(flight, now_s)
            case (8, tokens, last_s, failed, output_tokens, finish_reason, now_s):
                del self._flights[number]
                flight.tokens, flight.last_s = tokens, last_s
                loop.ended(
                    flight,
                    now_s,
                    failed=failed,
                    output_tokens=output_tokens,
                    finish_reason=finish_reason,
                )

    def _learn(self, flight: Flight, now_s: float) -> None:
        """How fast prompts are read: the loop asks whether a queue inside the engine delays them."""
        queue = self._queues.get(flight.lane[0])
        if queue is not None and flight.dispatched_s is not None:
            upstream_s = now_s - flight.dispatched_s
            queue.lane(flight.lane[1]).prefill.learn(flight.prompt_tokens, upstream_s)
