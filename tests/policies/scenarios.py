"""A small closed loop in virtual time: the loop, real queues, and the fake llm-d's engines behind them.

`Plant` drives `policies.loop` as a gateway does: each request is decided, queued, worked on, and its
steps are told at the moment they happen. Nothing sleeps and nothing is random: the same plant gives the
same run. One engine of the model `big` serves about 6 requests a second inside TPOT 40 ms, `small` some
20; `twin` is another `big` in a pool of its own.
"""

import math
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import chain, count, pairwise

import msgspec

from adapters.fakellmd.draws import mix, uniform
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.model import Done, Job, Lost, Token
from adapters.fakellmd.settings import Drift, Latency, LlmdSettings, ServedModel
from contracts.catalog import Catalog, ModelCard
from contracts.control import IntentStatus, LoopDecision
from contracts.inference import RequestFacts
from contracts.policy import PolicyFile
from contracts.snapshot import Snapshot
from contracts.yaml_document import read
from policies.admission import AdmissionQueue, AdmissionSettings, Admit, Effect
from policies.compiler import compile_policies
from policies.decide import decide
from policies.flight import Flight
from policies.held import draws
from policies.lines import Ticket
from policies.loop import TICK_S, Loop
from policies.policy_set import PolicySet
from policies.steering import PoolBounds

FULL_RPS = 6.0
"""Requests a second that one `big` serves inside its objectives."""
CEILING = 200
BIG = Latency(
    prefill_overhead_s=0.03,
    prefill_time_per_token_s=0.0002,
    inter_token_latency_s=0.02,
    inter_token_latency_std_dev_s=0.001,
    time_factor_under_load=3.0,
)
SMALL = msgspec.structs.replace(BIG, inter_token_latency_s=0.006, prefill_overhead_s=0.01)
CATALOG = Catalog(
    models={
        card.name: card
        for card in (
            ModelCard(
                name="big",
                pool="sim",
                upstream="big",
                quality=0.9,
                input_price=6.0,
                output_price=18.0,
            ),
            ModelCard(
                name="small",
                pool="sim",
                upstream="small",
                quality=0.7,
                input_price=0.6,
                output_price=1.8,
            ),
            ModelCard(
                name="tiny",
                pool="sim",
                upstream="small",
                quality=0.3,
                input_price=0.1,
                output_price=0.1,
            ),
            ModelCard(name="twin", pool="far", upstream="big", quality=0.9),
        )
    },
    pools=frozenset({"sim", "far"}),
    routes={"big": ("big", "twin")},
)


class Request(msgspec.Struct, kw_only=True):
    """One arrival, and what became of it."""

    at_s: float
    intent: str
    prompt_tokens: int
    output_tokens: int
    caller: str = "web"
    model: str = "big"
    fate: str = ""
    served_by: str = ""
    queued_s: float = 0.0
    ttft_s: float | None = None
    tpot_s: float | None = None
    tokens: int = 0
    treated: tuple[int, ...] = ()
    held_out: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What a client could tell two runs apart by."""
        return (self.at_s, self.fate, self.served_by, self.ttft_s, self.tpot_s, self.tokens)


def arrivals(
    rate: Iterable[tuple[float, float]],
    intent: str = "interactive",
    *,
    seed: int = 1,
    caller: str = "web",
    model: str = "big",
    output_tokens: int = 60,
) -> list[Request]:
    """A Poisson process: `rate` is knots of (seconds, requests a second), straight lines in between."""
    knots, made, key = list(rate), [], count(1)
    for (start_s, low), (end_s, high) in pairwise(knots):
        most, at_s = max(low, high), start_s
        while most > 0.0:
            at_s -= math.log(1.0 - uniform(mix(seed, next(key)))) / most
            if at_s >= end_s:
                break
            now = low + (high - low) * (at_s - start_s) / (end_s - start_s)
            if uniform(mix(seed, next(key))) * most < now:
                spread = 0.4 + 1.2 * uniform(mix(seed, next(key)))
                made.append(
                    Request(
                        at_s=at_s,
                        intent=intent,
                        prompt_tokens=int(400 * spread),
                        output_tokens=max(int(output_tokens * spread), 2),
                        caller=caller,
                        model=model,
                    )
                )
    return made


def steady(
    rps: float, until_s: float, intent: str = "interactive", **more: object
) -> list[Request]:
    return arrivals([(0.0, rps), (until_s, rps)], intent, **more)


def policy_set(text: str, catalog: Catalog = CATALOG) -> PolicySet:
    return compile_policies([read(text, PolicyFile, file="a.yaml")], catalog)


class Plant:
    """Run once. `at(time, do)` has something happen meanwhile; `looks` are the standings, a second
    apart."""

    def __init__(
        self, policy: str, *, replicas: int = 1, catalog: Catalog = CATALOG, seed: int = 0
    ) -> None:
        self.policy, self.catalog = policy_set(policy, catalog), catalog
        self.loop = Loop(self.policy, catalog, 0.0)
        self.requests: list[Request] = []
        self.decisions: list[LoopDecision] = []
        self.looks: list[tuple[float, dict[str, IntentStatus]]] = []
        self.limits: list[tuple[float, float]] = []
        """Of `big`, after each tick."""
        self.ticking = True
        self.blind = False
        """Tokens are not seen while they come."""
        self.now_s = 0.0
        self._seed = seed
        self._script: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._fleets: dict[tuple[str, str], Fleet] = {}
        self.queues: dict[str, AdmissionQueue] = {}
        self._flights: dict[int, tuple[Flight, Request]] = {}
        for pool, models in (("sim", {"big": BIG, "small": SMALL}), ("far", {"big": BIG})):
            told = AdmissionSettings(limit=CEILING, max_waiting=500, timeout_s=60.0)
            self.queues[pool] = AdmissionQueue(told)
            self._bounds(pool, replicas)
            for model, latency in models.items():
                self._fleets[pool, model] = Fleet(_engine(model, latency, replicas))

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        heappush(self._script, (at_s, next(self._order), do))

    def lose(self, *gone: int) -> None:
        """From now on these replicas of `big` are lost, and all others are there."""
        fleet = self._fleets["sim", "big"]
        replicas = len(fleet.engines["big"])
        settings = msgspec.structs.replace(_engine("big", BIG, replicas), pods_down={"big": gone})
        fleet.reconfigure(self.now_s, settings)
        self._bounds("sim", replicas - len(gone))

    def slow_down(self, times: float) -> None:
        """From now on `big` is slower."""
        drift = Drift(at_s=0.0, inter_token_latency_s=BIG.inter_token_latency_s * times)
        fleet = self._fleets["sim", "big"]
        replicas = len(fleet.engines["big"])
        settings = msgspec.structs.replace(_engine("big", BIG, replicas), drift=(drift,))
        fleet.reconfigure(self.now_s, settings)

    def run(self, *traffic: list[Request], until_s: float) -> "Plant":
        """To `until_s`, ticking to the end."""
        self.requests = sorted(chain(*traffic), key=lambda request: request.at_s)
        nth, tick_s = 0, TICK_S
        while True:
            arrival_s = self.requests[nth].at_s if nth < len(self.requests) else math.inf
            now_s = min(tick_s, arrival_s, *self._due())
            if now_s > until_s:
                return self
            self.now_s = max(now_s, self.now_s)
            for fleet in self._fleets.values():
                self._engine_events(fleet)
            while self._script and self._script[0][0] <= now_s:
                heappop(self._script)[2]()
            if arrival_s <= now_s:
                self._arrive(nth, self.requests[nth])
                nth += 1
            if now_s >= tick_s:
                tick_s += TICK_S
                self._tick()
            for pool in self.queues:
                self._carry_out(pool, self.queues[pool].wake(self.now_s))

    # -- what tests ask -----------------------------------------------------------------

    def told(self, *kinds: str, intent: str = "") -> list[LoopDecision]:
        return [d for d in self.decisions if d.kind in kinds and intent in ("", d.intent)]

    def of(self, intent: str, since_s: float = 0.0, until_s: float = math.inf) -> list[Request]:
        return [r for r in self.requests if r.intent == intent and since_s <= r.at_s < until_s]

    def kept_share(self, ttft_s: float, since_s: float, until_s: float = math.inf) -> float:
        """Of interactive requests of that time, those that had their first token in time."""
        asked = self.of("interactive", since_s, until_s)
        return sum(r.ttft_s is not None and r.ttft_s <= ttft_s for r in asked) / len(asked)

    # -- inside -------------------------------------------------------------------------

    def _bounds(self, pool: str, endpoints: int) -> None:
        bounds = PoolBounds(endpoints=endpoints, ceiling=float(CEILING))
        self.loop.adopt(pool, self.queues[pool], bounds)

    def _due(self) -> list[float]:
        times = [fleet.next_event_s() for fleet in self._fleets.values()]
        times += [queue.next_deadline_s() for queue in self.queues.values()]
        times.append(self._script[0][0] if self._script else None)
        return [at_s for at_s in times if at_s is not None]

    def _tick(self) -> None:
        if self.ticking:
            self.decisions += self.loop.tick(self.now_s, self._look)
        state = self.loop.steering.limit_of(("sim", "big"))
        self.limits.append((self.now_s, state or 0.0))
        if self.now_s % 1.0 == 0.0:
            statuses = self.loop.statuses(self.now_s)
            self.looks.append((self.now_s, {status.intent: status for status in statuses}))

    def _look(self, flight: Flight) -> None:
        if not self.blind:
            fleet = self._fleets[flight.lane]
            flight.tokens, flight.last_s = fleet.progress(flight.request, self.now_s)

    def _arrive(self, number: int, request: Request) -> None:
        decision = decide(
            self.policy,
            self.catalog,
            RequestFacts(
                operation="chat",
                model=request.model,
                stream=True,
                prompt_tokens=request.prompt_tokens,
                key=request.caller,
                headers={"x-intent": request.intent},
            ),
            Snapshot(),
            holding=self.loop.held_now(self.now_s),
            draws=draws(number),
        )
        card = self.catalog.models[decision.shaping.model]
        promised = self.policy.intent(decision.intent)
        wants, lane = decision.constraints, (card.pool, card.upstream)
        flight = Flight(
            number,
            intent=decision.intent,
            model=card.name,
            lane=lane,
            caller=request.caller,
            priority=decision.shaping.priority,
            prompt_tokens=request.prompt_tokens,
            arrived_s=self.now_s,
            max_tokens=decision.shaping.max_tokens,
            ttft_objective_s=wants.ttft_s,
            tpot_objective_s=wants.tpot_s,
            e2e_objective_s=promised.objectives.e2e_s,
            input_usd=(card.input_price or 0.0) / 1e6,
            output_usd=(card.output_price or 0.0) / 1e6,
            treated=decision.treated,
            held_out=decision.held_out,
            ticket=number,
        )
        request.served_by = card.name
        request.treated, request.held_out = decision.treated, decision.held_out
        self.loop.offered(flight)
        if decision.shaping.reject is not None:
            request.fate = "shed"
            self.loop.refused(flight, self.now_s, shed=True)
            return
        self._flights[number] = flight, request
        strict = promised.late == "refuse" and not promised.dry_run and wants.ttft_s is not None
        ticket = Ticket(
            request=number,
            lane=card.upstream,
            priority=flight.priority,
            caller=request.caller,
            prompt_tokens=request.prompt_tokens,
            deadline_s=self.now_s + (wants.ttft_s or 0.0) if strict else None,
        )
        self._carry_out(card.pool, self.queues[card.pool].offer(ticket, self.now_s))

    def _carry_out(self, pool: str, effects: list[Effect]) -> None:
        for effect in effects:
            flight, request = self._flights[effect.request]
            request.queued_s = effect.waited_s
            if isinstance(effect, Admit):
                self._dispatch(flight, request, effect.waited_s)
            else:
                request.fate = "refused"
                self.loop.refused(flight, self.now_s)
                del self._flights[effect.request]

    def _dispatch(self, flight: Flight, request: Request, waited_s: float) -> None:
        self.loop.dispatched(flight, flight.lane, waited_s, self.now_s)
        request.tokens = min(request.output_tokens, flight.max_tokens or request.output_tokens)
        job = Job(
            id=flight.request,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.tokens,
            seed=mix(self._seed, flight.request),
            every_token=False,
        )
        placed = self._fleets[flight.lane].submit(self.now_s, flight.lane[1], job)
        if placed.admission not in ("running", "waiting"):
            self._failed(flight, request)

    def _failed(self, flight: Flight, request: Request) -> None:
        request.fate = "failed"
        del self._flights[flight.request]
        self.loop.attempt_failed(flight, "none", self.now_s)
        self.loop.ended(flight, self.now_s, failed=True)
        pool = flight.lane[0]
        self._carry_out(pool, self.queues[pool].done(flight.request, self.now_s))

    def _engine_events(self, fleet: Fleet) -> None:
        for event in fleet.advance(self.now_s):
            match event:
                case Token() if event.index == 1:
                    flight, request = self._flights[event.job_id]
                    request.ttft_s = event.at_s - request.at_s
                    self.loop.first_token(flight, event.at_s)
                case Done():
                    self._done(event)
                case Lost():
                    self._failed(*self._flights[event.job_id])
                case _:
                    pass

    def _done(self, done: Done) -> None:
        flight, request = self._flights.pop(done.job_id)
        request.fate = "served"
        request.tpot_s = (done.at_s - done.first_token_s) / max(request.tokens - 1, 1)
        capped = request.tokens < request.output_tokens
        self.loop.ended(
            flight,
            done.at_s,
            output_tokens=request.tokens,
            finish_reason="length" if capped else "stop",
        )
        pool = flight.lane[0]
        self._carry_out(pool, self.queues[pool].done(done.job_id, done.at_s))


def _engine(model: str, latency: Latency, replicas: int) -> LlmdSettings:
    return LlmdSettings(
        models=(ServedModel(name=model, latency=latency),),
        replicas=replicas,
        max_num_seqs=32,
        max_waiting_queue_length=None,
    )
