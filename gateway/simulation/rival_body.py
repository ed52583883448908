"""A rival's law as the controller of a simulated run: a limit and a line for each model, no classes.

Must stay true: requests are decided by the same rules as Setpoint's, before any action of its loop,
and the law alone says how many run; a new limit holds from the moment that the law has it.
"""

from collections.abc import Callable, Iterable

from contracts.control import LoopDecision
from contracts.snapshot import PoolSignals, Snapshot
from gateway.simulation.bodies import UNLIMITED, Asked, Sight
from gateway.simulation.engines import Engines, Lane
from gateway.simulation.outcome import Outcome
from gateway.simulation.reception import Reception
from gateway.simulation.rivals.rival import Rival
from gateway.simulation.trace import Arrival
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.lane import Lane as QueueLane
from policies.lines import Ticket

_FOREVER_S = 1e9
_INSTANT_S = 1e-6
"""A rival divides by how long a request took."""


class _Gate:
    """One model's law with its line."""

    def __init__(self, rival: Rival, name: str) -> None:
        self.rival = rival
        ttl_s = _FOREVER_S if rival.ttl_s is None else rival.ttl_s
        self.queue = AdmissionQueue(
            AdmissionSettings(limit=UNLIMITED, max_waiting=UNLIMITED, timeout_s=ttl_s)
        )
        self.lane: QueueLane = self.queue.lane(name)
        self.follow()

    def follow(self) -> None:
        self.lane.limit = min(self.rival.limit, float(UNLIMITED))


class RivalBody:
    """`make` gives a new rival for each of `lanes`: published limiters guard one service each."""

    def __init__(
        self, make: Callable[[], Rival], reception: Reception, lanes: Iterable[Lane]
    ) -> None:
        self._reception = reception
        self._gates = {lane: _Gate(make(), lane[1]) for lane in lanes}
        self.queues = tuple(gate.queue for gate in self._gates.values())

    @property
    def flaps(self) -> int:
        return 0

    def ask(self, number: int, arrival: Arrival, now_s: float) -> tuple[Outcome, Asked | None]:
        snapshot = self._snapshot() if self._reception.policy.asks_pools else Snapshot()
        outcome, decision = self._reception.receive(number, arrival, snapshot)
        if decision is None:
            return outcome, None
        if decision.shaping.reject is not None:
            outcome.fate, outcome.finish_reason = "refused", "rejected_by_policy"
            return outcome, None
        card = self._reception.catalog.models[decision.shaping.model]
        tokens = self._reception.answer_tokens(arrival, decision, card, outcome)
        if not tokens:
            return outcome, None
        lane = (card.pool, card.upstream)
        gate = self._gates[lane]
        ttft_s = decision.constraints.ttft_s if gate.rival.deadline_aware else None
        return outcome, Asked(
            number=number,
            arrival=arrival,
            outcome=outcome,
            lane=lane,
            queue=gate.queue,
            ticket=Ticket(
                request=number,
                lane=card.upstream,
                prompt_tokens=arrival.input_tokens,
                deadline_s=None if ttft_s is None else now_s + ttft_s,
            ),
            card=card,
            output_tokens=tokens,
            capped=tokens < arrival.output_tokens,
        )

    def dispatched(self, asked: Asked, waited_s: float, now_s: float) -> None:
        gate = self._gates[asked.lane]
        gate.rival.started(now_s, gate.queue.inflight)
        gate.follow()

    def first_token(self, asked: Asked, now_s: float) -> None:
        upstream_s = now_s - asked.arrival.arrival_s - (asked.outcome.queued_s or 0.0)
        asked.queue.first_token(asked.number, upstream_s, now_s)

    def ended(self, asked: Asked, now_s: float, *, failed: bool) -> None:
        gate = self._gates[asked.lane]
        rtt_s = now_s - asked.arrival.arrival_s - (asked.outcome.queued_s or 0.0)
        gate.rival.finished(now_s, max(rtt_s, _INSTANT_S), gate.queue.inflight, not failed)
        gate.follow()

    def turned_away(self, asked: Asked, now_s: float) -> None:
        """A rival learns from what ran only."""

    def tick(self, now_s: float, engines: Engines) -> list[LoopDecision]:
        for gate in self._gates.values():
            gate.rival.tick(now_s)
            gate.follow()
        return []

    def sight(self, now_s: float) -> Sight:
        return Sight(
            inflight=sum(queue.inflight for queue in self.queues),
            waiting=sum(queue.waiting for queue in self.queues),
            limits={
                lane: gate.lane.limit
                for lane, gate in self._gates.items()
                if gate.lane.limit < UNLIMITED
            },
            rungs={},
        )

    def _snapshot(self) -> Snapshot:
        """For rules that ask about pools: a pool is all its models."""
        pools: dict[str, PoolSignals] = {}
        for (pool, _), gate in self._gates.items():
            before = pools.get(pool, PoolSignals())
            pools[pool] = PoolSignals(
                inflight=before.inflight + gate.queue.inflight,
                queued=before.queued + gate.queue.waiting,
                limit=before.limit + int(gate.lane.limit),
                endpoints=1,
                ready_endpoints=1,
            )
        return Snapshot(pools=pools)
