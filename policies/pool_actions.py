"""What the rungs in force do to pools, and the value that carries the rest to single requests.

Written anew every tick from the ladders alone: an action that is no longer held leaves no trace.
"""

from collections.abc import Mapping

from policies.admission import AdmissionQueue
from policies.held import CALM, Decline, HeldRung, Holding
from policies.ladder import Action, Ladder
from policies.policy_set import PolicySet
from policies.reach import Reach
from policies.rungs import KINDS
from policies.signals import Signals
from policies.steering import Steering

HOLD_START, HOLD_MIN, HOLD_STEP, HOLD_RELAX = 0.9, 0.4, 0.02, 0.005
"""Of a lane's limit, what classes below one that holds them back may use: it begins with a tenth kept
free, and moves a tick at a time, down while requests are late, slowly up again: whoever is held
back gets all that is left, and no less."""
ORDER_SLACK_TOKENS = 8192.0
"""How far apart in tokens two callers may be and still be ordered by deadline."""
SHED_STEP, SHED_START = 0.05, 0.2
"""The share that is shed begins here, and grows by this a tick while requests are late."""
SHED_RELAX = 0.01
REFUSE_RETRY_S = 10.0
HEDGE_QUANTILE, HEDGE_DEFAULT_S = 0.95, 1.0


class PoolActions:
    """`holding` for requests, `apply` for pools. Both only look at actions that act."""

    def __init__(self) -> None:
        self._capped: dict[int, dict[tuple[str, str], float]] = {}
        """By action of `reduce_batching`: the bound it put on each lane when it began."""

    def holding(
        self,
        ladders: Mapping[str, Ladder],
        policy: PolicySet,
        reach: Reach,
        signals: Signals,
        now_s: float,
    ) -> Holding:
        """What decisions are made with until the next tick."""
        rungs: dict[str, tuple[HeldRung, ...]] = {}
        declines = []
        until_s = float("inf")
        for name, ladder in ladders.items():
            mine = []
            for action in ladder.held:
                until_s = min(until_s, action.lease_until_s)
                if KINDS[action.rung.action].per_request:
                    mine.append(_held_rung(name, action, reach, signals, now_s))
                elif action.rung.action in ("shed", "refuse"):
                    declines.append(_decline(name, action, policy))
            if mine:
                rungs[name] = tuple(mine)
        if until_s == float("inf"):
            return CALM
        return Holding(rungs=rungs, declines=tuple(declines), until_s=until_s)

    def apply(
        self,
        ladders: Mapping[str, Ladder],
        policy: PolicySet,
        reach: Reach,
        queues: Mapping[str, AdmissionQueue],
        steering: Steering,
        now_s: float,
    ) -> None:
        """Write the pool-level actions into the queues' lanes and the limits' caps."""
        shares: dict[tuple[str, str], dict[int, float]] = {}
        slack: dict[str, dict[int, float]] = {}
        caps: dict[tuple[str, str], float] = {}
        capped: dict[int, dict[tuple[str, str], float]] = {}
        for name, ladder in ladders.items():
            priority = policy.intent(name).priority
            for action in ladder.held:
                if action.dry_run:
                    continue
                if action.rung.action == "hold_back":
                    # Only where its own requests go now: elsewhere there is nobody to make room for.
                    for key in reach.lanes_of(name, now_s):
                        shares.setdefault(key, {})[priority] = action.share or HOLD_START
                elif action.rung.action == "order":
                    for pool in action.pools:
                        slack.setdefault(pool, {})[priority] = ORDER_SLACK_TOKENS
                if action.rung.action == "reduce_batching":
                    bound = self._capped.get(action.number) or _bound(action, steering)
                    capped[action.number] = bound
                    for key, cap in bound.items():
                        caps[key] = min(cap, caps.get(key, cap))
        self._capped = capped
        steering.caps = caps
        for pool, queue in queues.items():
            queue.order_slack_tokens = slack.get(pool, {})
            for model, lane in queue.lanes.items():
                lane.hold_back(shares.get((pool, model), {}))

    def regulate(self, ladders: Mapping[str, Ladder], signals: Signals, now_s: float) -> None:
        """Move the shares that `shed` refuses and `hold_back` allows: quickly to the side of an intent
        that is late, slowly back."""
        for name, ladder in ladders.items():
            for action in ladder.held:
                if action.rung.action == "shed":
                    _shed(action, late=_late_now(signals, name, now_s))
                elif action.rung.action == "hold_back":
                    _hold_back(action, late=_late_now(signals, name, now_s))


def _shed(action: Action, *, late: bool) -> None:
    if not action.share:
        action.share = SHED_START
    elif late:
        action.share = min(action.share + SHED_STEP, 1.0)
    else:
        action.share = max(action.share - SHED_RELAX, SHED_START / 2)


def _hold_back(action: Action, *, late: bool) -> None:
    if not action.share:
        action.share = HOLD_START
    elif late:
        action.share = max(action.share - HOLD_STEP, HOLD_MIN)
    else:
        action.share = min(action.share + HOLD_RELAX, HOLD_START)


def _late_now(signals: Signals, name: str, now_s: float) -> bool:
    """Whether requests of the last seconds were refused or late more often than allowed."""
    seen = signals.intent(name)
    for objective in seen.objectives:
        if objective.signal == "ttft":
            late_s = seen.ttft.quantile(now_s, 5, objective.quantile or 0.95)
            if late_s is not None and late_s > objective.target:
                return True
    came = seen.arrivals.sum(now_s, 5)
    return bool(came) and seen.refused.sum(now_s, 5) > 0.05 * came


def _held_rung(name: str, action: Action, reach: Reach, signals: Signals, now_s: float) -> HeldRung:
    after_s = None
    if action.rung.action == "hedge":
        waits = [
            signals.lane(lane).upstream_ttft.quantile(now_s, 30, HEDGE_QUANTILE)
            for lane in reach.lanes_of(name, now_s)
        ]
        after_s = max((wait for wait in waits if wait), default=HEDGE_DEFAULT_S)
    return HeldRung(
        action=action.number,
        rung=action.rung,
        unverified=action.unjudged,
        hedge_after_s=after_s,
    )


def _decline(name: str, action: Action, policy: PolicySet) -> Decline:
    shed = action.rung.action == "shed"
    return Decline(
        action=action.number,
        rung=action.rung,
        intent=name,
        below=policy.intent(name).priority,
        pools=action.pools,
        share=action.share if shed else 1.0,
        sheddable_only=shed,
        retry_after_s=REFUSE_RETRY_S,
    )


def _bound(action: Action, steering: Steering) -> dict[tuple[str, str], float]:
    share = float(action.rung.argument or 1.0)
    return {
        key: max(share * min(lane.limit, max(lane.inflight, 1)), 1.0)
        for key, lane in steering.lanes()
        if key[0] in action.pools
    }
