"""The product's brain as the controller of a simulated run.

Must stay true: it decides with `policies.decide`, queues with `policies.admission`, steers with
`policies.loop`, and adds nothing of its own. Not simulated: retries, hedges and client headers that
tighten a promise.
"""

from collections.abc import Iterable, Mapping

from contracts.catalog import ModelCard
from contracts.control import LoopDecision
from contracts.decision import Decision
from contracts.snapshot import PoolSignals, Snapshot
from gateway.settings import PoolSpec
from gateway.simulation.bodies import Asked, Sight
from gateway.simulation.engines import Engines
from gateway.simulation.outcome import Outcome
from gateway.simulation.reception import Reception
from gateway.simulation.trace import Arrival
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.flight import Flight
from policies.lines import Ticket
from policies.loop import Loop
from policies.steering import PoolBounds

SLOTS_UNKNOWN = 64
"""Requests at once for an endpoint that does not tell how many it works on: `gateway.pools` has the same."""
_NO_POOLS = Snapshot()


class SetpointBody:
    """`pools` are those whose engines are simulated. `weights` of tenants; 1 for the others."""

    def __init__(
        self,
        reception: Reception,
        pools: Iterable[PoolSpec],
        engines: Engines,
        weights: Mapping[str, float],
    ) -> None:
        self._reception = reception
        self._policy, self._catalog = reception.policy, reception.catalog
        self._weights = weights
        self.loop = Loop(self._policy, self._catalog, 0.0)
        self._pools: dict[str, AdmissionQueue] = {}
        self._endpoints: dict[str, int] = {}
        for spec in pools:
            self._add(spec, engines.endpoints(spec.id))
        self.queues = tuple(self._pools.values())

    def _add(self, spec: PoolSpec, endpoints: int) -> None:
        most = spec.max_inflight or SLOTS_UNKNOWN * endpoints
        queue = AdmissionQueue(
            AdmissionSettings(
                limit=most, max_waiting=spec.max_waiting, timeout_s=spec.queue_timeout_s
            )
        )
        self._pools[spec.id], self._endpoints[spec.id] = queue, endpoints
        self.loop.adopt(spec.id, queue, PoolBounds(endpoints=endpoints, ceiling=float(most)))

    @property
    def flaps(self) -> int:
        return self.loop.flaps

    def ask(self, number: int, arrival: Arrival, now_s: float) -> tuple[Outcome, Asked | None]:
        snapshot = self._snapshot() if self._policy.asks_pools else _NO_POOLS
        holding = self.loop.held_now(now_s)
        outcome, decision = self._reception.receive(number, arrival, snapshot, holding)
        if decision is None:
            return outcome, None
        card = self._catalog.models[decision.shaping.model]
        flight = self._flight(number, arrival, decision, card, now_s)
        if decision.shaping.reject is not None:
            self.loop.offered(flight)
            self.loop.refused(flight, now_s, shed=True)
            shed = decision.shed_for is not None
            outcome.fate = "shed" if shed else "refused"
            outcome.finish_reason = "shed" if shed else "rejected_by_policy"
            return outcome, None
        tokens = self._reception.answer_tokens(arrival, decision, card, outcome)
        if not tokens:
            return outcome, None
        self.loop.offered(flight)
        return outcome, Asked(
            number=number,
            arrival=arrival,
            outcome=outcome,
            lane=flight.lane,
            queue=self._pools[card.pool],
            ticket=self._ticket(flight, now_s),
            card=card,
            output_tokens=tokens,
            capped=tokens < arrival.output_tokens,
            flight=flight,
        )

    def dispatched(self, asked: Asked, waited_s: float, now_s: float) -> None:
        self.loop.dispatched(_flight_of(asked), asked.lane, waited_s, now_s)

    def first_token(self, asked: Asked, now_s: float) -> None:
        self.loop.first_token(_flight_of(asked), now_s)

    def ended(self, asked: Asked, now_s: float, *, failed: bool) -> None:
        flight = _flight_of(asked)
        if failed:
            self.loop.attempt_failed(flight, "capacity", now_s)
        self.loop.ended(
            flight,
            now_s,
            failed=failed,
            output_tokens=0 if failed else asked.output_tokens,
            finish_reason="length" if asked.capped else "stop",
        )

    def turned_away(self, asked: Asked, now_s: float) -> None:
        self.loop.refused(_flight_of(asked), now_s)

    def tick(self, now_s: float, engines: Engines) -> list[LoopDecision]:
        def look(flight: Flight) -> None:
            flight.tokens, flight.last_s = engines.progress(flight.lane, flight.request, now_s)

        return self.loop.tick(now_s, look)

    def sight(self, now_s: float) -> Sight:
        return Sight(
            inflight=sum(queue.inflight for queue in self.queues),
            waiting=sum(queue.waiting for queue in self.queues),
            limits={key: lane.limit for key, lane in self.loop.steering.lanes()},
            rungs={status.intent: status.rung for status in self.loop.statuses(now_s)},
        )

    # -- inside -------------------------------------------------------------------------

    def _flight(
        self, number: int, arrival: Arrival, decision: Decision, card: ModelCard, now_s: float
    ) -> Flight:
        wants = decision.constraints
        return Flight(
            number,
            intent=decision.intent,
            model=card.name,
            lane=(card.pool, card.upstream),
            caller=wants.fairness_id or "",
            priority=decision.shaping.priority,
            weight=self._weights.get(arrival.tenant, 1.0),
            prompt_tokens=arrival.input_tokens,
            arrived_s=now_s,
            max_tokens=decision.shaping.max_tokens,
            ttft_objective_s=wants.ttft_s,
            tpot_objective_s=wants.tpot_s,
            e2e_objective_s=self._policy.intent(decision.intent).objectives.e2e_s,
            input_usd=(card.input_price or 0.0) / 1e6,
            output_usd=(card.output_price or 0.0) / 1e6,
            treated=decision.treated,
            held_out=decision.held_out,
            ticket=number,
        )

    def _ticket(self, flight: Flight, now_s: float) -> Ticket:
        intent = self._policy.intent(flight.intent)
        ttft_s = flight.ttft_objective_s
        late = ttft_s is not None and not intent.dry_run and intent.late == "refuse"
        return Ticket(
            request=flight.request,
            lane=flight.lane[1],
            priority=flight.priority,
            caller=flight.caller,
            weight=flight.weight,
            prompt_tokens=flight.prompt_tokens,
            deadline_s=now_s + ttft_s if late and ttft_s is not None else None,
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            pools={
                pool: PoolSignals(
                    inflight=queue.inflight,
                    queued=queue.waiting,
                    limit=queue.settings.limit,
                    endpoints=self._endpoints[pool],
                    ready_endpoints=self._endpoints[pool],
                )
                for pool, queue in self._pools.items()
            }
        )


def _flight_of(asked: Asked) -> Flight:
    assert asked.flight is not None
    return asked.flight
