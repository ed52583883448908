"""Who works where: which lanes an intent's requests go to, who shares them, and so what a rung of its
ladder could act on at all. Look-ups over what was seen in the last minute; nothing is changed here.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Literal

from contracts.catalog import Catalog
from contracts.control import MeasuredObjective
from contracts.policy import Intent, Rung
from policies.admission import AdmissionQueue
from policies.ladder import Action, Ladder
from policies.objectives import Objective
from policies.policy_set import PolicySet
from policies.quality import below_floor, shortfall
from policies.rung_memory import LOAD_SPAN_S
from policies.rungs import KINDS
from policies.signals import Signals
from policies.trial import Before, Trial

LaneKey = tuple[str, str]
"""Pool, and the model's name there."""
RECENT_S = 60.0
MAX_SETTLE_S = 30.0
MODELS_KEPT = 32
"""Requests of an intent whose models are remembered: few, so that a rung that is given back is soon
forgotten."""


class Reach:
    """Under one policy set after the other: where requests go does not change with a reload."""

    def __init__(self, policy: PolicySet, signals: Signals) -> None:
        self._policy = policy
        self._signals = signals
        self._lanes: defaultdict[str, dict[LaneKey, float]] = defaultdict(dict)
        """When an intent's requests last went there."""
        self._models = defaultdict[str, deque[tuple[float, str]]](lambda: deque(maxlen=MODELS_KEPT))
        self._classes: dict[tuple[str, int], float] = {}
        """When a pool was last asked by a class of some priority."""

    def went(self, intent: str, lane: LaneKey, model: str, priority: int, now_s: float) -> None:
        """A request of an intent goes to a lane."""
        self._lanes[intent][lane] = now_s
        self._models[intent].append((now_s, model))
        self._classes[lane[0], priority] = now_s

    def follow(self, policy: PolicySet) -> None:
        """New policies. Intents that they have not are forgotten."""
        self._policy = policy
        for seen in (self._lanes, self._models):
            for name in [name for name in seen if name and name not in policy.intents]:
                del seen[name]

    def lanes_of(self, intent: str, now_s: float) -> list[LaneKey]:
        """Where its requests went within the last minute, in the order they were first seen."""
        uses = self._lanes.get(intent, {})
        return [lane for lane, last_s in uses.items() if now_s - last_s <= RECENT_S]

    def pools_of(self, intent: str, now_s: float) -> frozenset[str]:
        return frozenset(lane[0] for lane in self.lanes_of(intent, now_s))

    def tightest(
        self, lane: LaneKey, signal: Literal["ttft", "tpot"], now_s: float
    ) -> float | None:
        """The strictest objective of those whose requests the lane had within the last minute."""
        found = None
        for name, uses in self._lanes.items():
            last_s = uses.get(lane)
            if last_s is None or now_s - last_s > RECENT_S:
                continue
            intent = self._policy.intent(name)
            if intent.dry_run:
                continue
            target = getattr(intent.objectives, f"{signal}_s")
            if target is not None and (found is None or target < found):
                found = float(target)
        return found

    def only_rehearsed(self, lane: LaneKey, now_s: float) -> bool:
        """Whether all whose requests the lane had within the last minute only decide and log."""
        names = [
            name
            for name, lanes in self._lanes.items()
            if now_s - lanes.get(lane, float("-inf")) <= RECENT_S
        ]
        return bool(names) and all(self._policy.intent(name).dry_run for name in names)

    def usual_model(self, intent: str, now_s: float) -> str:
        """What most of its last requests went to."""
        seen = self._models.get(intent, ())
        recent = Counter(model for last_s, model in seen if now_s - last_s <= RECENT_S)
        return max(recent, key=recent.__getitem__, default="")

    def load_rps(self, intent: str, now_s: float) -> float:
        """Requests that are offered to its pools, by anybody, a second."""
        pools = self.pools_of(intent, now_s)
        sharing = {
            name for name in self._lanes if name == intent or self.pools_of(name, now_s) & pools
        }
        intents = self._signals.intents
        return sum(
            intents[name].arrivals.per_second(now_s, LOAD_SPAN_S)
            for name in sharing
            if name in intents
        )

    def served_share(self, intent: str, now_s: float) -> float:
        """Of what came, what was answered: the drain by the load."""
        seen = self._signals.intents.get(intent)
        if seen is None:
            return 1.0
        came = seen.arrivals.sum(now_s, LOAD_SPAN_S)
        return min(seen.served.sum(now_s, LOAD_SPAN_S) / came, 1.0) if came else 1.0

    # -- what a rung could do -----------------------------------------------------------

    def why_not(
        self,
        name: str,
        rung: Rung,
        objective: Objective,
        catalog: Catalog,
        ladders: Mapping[str, Ladder],
        pools: Mapping[str, AdmissionQueue],
        now_s: float,
    ) -> str:
        """ "" if the rung has something to act on, else the reason, for people."""
        mine = self.pools_of(name, now_s)
        if not mine:
            return "no request of it was seen lately"
        if not KINDS[rung.action].per_request and _judged_elsewhere(name, mine, ladders):
            return "another action is being judged in its pool"
        intent = self._policy.intent(name)
        match rung.action:
            case "order":
                return self._why_not_order(intent, mine, pools)
            case "hold_back" | "refuse":
                lower = self._shared_with(mine, intent.priority, now_s)
                return "" if lower else "no lower class shares its pools"
            case "shed":
                sheddable = self._shared_with(mine, min(intent.priority, 0), now_s)
                return "" if sheddable else "nothing sheddable shares its pools"
            case "switch_model":
                return self._why_not_switch(intent, str(rung.argument), objective, catalog, now_s)
            case "cap_tokens":
                longest = self._signals.intent(name).output.quantile(now_s, 300, 0.9)
                short = longest is not None and longest * 1000 <= float(rung.argument or 0)
                return "answers are shorter than that already" if short else ""
            case "reduce_batching":
                lanes = [pools[p].lanes.get(m) for p, m in self.lanes_of(name, now_s) if p in pools]
                busy = any(lane is not None and lane.inflight > 1 for lane in lanes)
                return "" if busy else "nothing runs at once"
            case _:
                other = self.other_pool(intent, catalog, now_s)
                return "" if other else "its route has no model in another pool"

    def other_pool(self, intent: Intent, catalog: Catalog, now_s: float) -> str:
        """A model on the usual one's route that lives elsewhere and is good enough; "" for none."""
        usual = self.usual_model(intent.name, now_s)
        here = catalog.models.get(usual)
        for target in catalog.routes.get(usual, ()):
            card = catalog.models.get(target)
            if card and here and card.pool != here.pool and not below_floor(card, intent):
                return target
        return ""

    def cost_without(self, name: str, action: Action, now_s: float) -> float | None:
        """For a promise of cost, what it would measure if the action ended: today's requests at the
        price that a request had before it. None for the others: they are judged by load alone."""
        trial = action.trial
        if trial is None or action.objective.signal not in ("cost_per_minute", "cost_per_request"):
            return None
        usd = trial.before.usd_per_request
        if action.objective.signal == "cost_per_minute":
            seen = self._signals.intent(name)
            usd *= 60.0 * seen.arrivals.per_second(now_s, LOAD_SPAN_S)
        return usd

    def prepare(
        self, name: str, action: Action, seen: MeasuredObjective, load_rps: float, now_s: float
    ) -> None:
        """Write down what things are like, so that the action can be judged."""
        action.pools = self.pools_of(name, now_s)
        if action.dry_run:
            return
        signals = self._signals.intent(name)
        came = signals.served.sum(now_s, LOAD_SPAN_S)
        failed = signals.failed.sum(now_s, LOAD_SPAN_S)
        before = Before(
            late_share=seen.bad / seen.samples if seen.samples else 0.0,
            load_rps=load_rps,
            own_rps=signals.arrivals.per_second(now_s, LOAD_SPAN_S),
            error_share=failed / (came + failed) if failed else 0.0,
            usd_per_request=signals.cost.sum(now_s, LOAD_SPAN_S) / came if came else 0.0,
        )
        kind = KINDS[action.rung.action]
        settle_s = kind.settle_s
        if kind.after_service:
            services = [
                self._signals.lane(lane).service.quantile(now_s, 300, 0.9)
                for lane in self.lanes_of(name, now_s)
            ]
            settle_s += min(max((s for s in services if s), default=0.0), MAX_SETTLE_S)
        action.trial = Trial(action.objective, before, now_s=now_s, settle_s=settle_s)

    def _shared_with(self, mine: frozenset[str], below: int, now_s: float) -> bool:
        return any(
            pool in mine and priority < below and now_s - last_s <= RECENT_S
            for (pool, priority), last_s in self._classes.items()
        )

    def _why_not_order(
        self, intent: Intent, mine: frozenset[str], pools: Mapping[str, AdmissionQueue]
    ) -> str:
        for pool in mine:
            queue = pools.get(pool)
            if queue is not None and any(
                queue.waiters(lane).callers(intent.priority) > 1 for lane in queue.lanes
            ):
                return ""
        return "no two callers wait"

    def _why_not_switch(
        self, intent: Intent, target: str, objective: Objective, catalog: Catalog, now_s: float
    ) -> str:
        card, usual = (
            catalog.models.get(target),
            catalog.models.get(self.usual_model(intent.name, now_s)),
        )
        if card is None:
            return f"no backend lists {target}"
        if below_floor(card, intent):
            return f"{target} {shortfall(card, intent)}"
        if usual is None or usual.name == target:
            return f"{target} serves it already"
        if usual.quality is not None and (card.quality is None or card.quality > usual.quality):
            return f"{target} is rated above {usual.name}"
        if objective.signal in ("cost_per_minute", "cost_per_request"):
            dear = (usual.input_price or 0.0) + (usual.output_price or 0.0)
            if (card.input_price or 0.0) + (card.output_price or 0.0) >= dear:
                return f"{target} is no cheaper"
        return ""


def _judged_elsewhere(name: str, mine: frozenset[str], ladders: Mapping[str, Ladder]) -> bool:
    """Stop and wait: one unverified pool-level action at a time in a pool."""
    others = (ladder.pending for other, ladder in ladders.items() if other != name)
    return any(
        pending is not None
        and not KINDS[pending.rung.action].per_request
        and bool(pending.pools & mine)
        for pending in others
    )
