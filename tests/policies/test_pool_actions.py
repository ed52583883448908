"""What rungs in force do: to single requests as a value, to pools in their lanes, and nothing afterwards."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.policy import Rung
from policies.admission import AdmissionQueue, AdmissionSettings
from policies.held import CALM
from policies.ladder import LEASE_S, Action, Ladder
from policies.objectives import objectives_of
from policies.pool_actions import (
    HEDGE_DEFAULT_S,
    HOLD_MIN,
    HOLD_START,
    ORDER_SLACK_TOKENS,
    SHED_START,
    SHED_STEP,
    PoolActions,
)
from policies.reach import Reach
from policies.signals import Signals
from policies.steering import PoolBounds, Steering
from tests.policies.scenarios import policy_set

pytestmark = pytest.mark.req("INT-5")

POLICY = policy_set(
    """
intents:
  - {name: interactive, match: {default: true}, objectives: {ttft_p95: 1s}, priority: 10}
  - {name: quick, match: {header: {x: q}}, objectives: {tpot_p95: 50ms}, priority: 20}
  - {name: batch, match: {header: {x: b}}, priority: -10}
"""
)
SIM, SMALL, FAR = ("sim", "big"), ("sim", "small"), ("far", "big")


class Scene:
    """Two pools, three lanes, and a ladder for each intent."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.signals = Signals()
        promised = {name: objectives_of(intent) for name, intent in POLICY.intents.items()}
        self.signals.declare({name: (told, 30.0) for name, told in promised.items()})
        self.reach = Reach(POLICY, self.signals)
        self.steering = Steering()
        self.ladders = {
            name: Ladder([], told, count(1).__next__) for name, told in promised.items()
        }
        settings = AdmissionSettings(limit=100, max_waiting=50, timeout_s=60.0)
        self.queues = {pool: AdmissionQueue(settings) for pool in ("sim", "far")}
        for pool, queue in self.queues.items():
            self.steering.bound(pool, queue, PoolBounds(endpoints=1, ceiling=100.0))
        for pool, model in (SIM, SMALL, FAR):
            self.queues[pool].lane(model).limit = 20.0
        for lane in (SIM, SMALL):
            self.went("interactive", lane)
        self.actions = PoolActions()
        self._numbers = count(1)

    def went(self, intent: str, lane: tuple[str, str]) -> None:
        self.reach.went(intent, lane, lane[1], POLICY.intent(intent).priority, self.now_s)

    def hold(self, rung: object, intent: str = "interactive", *pools: str) -> Action:
        objective = next(iter(objectives_of(POLICY.intents["interactive"])))
        action = Action(next(self._numbers), 0, Rung.parse(rung), objective, self.now_s)
        action.pools = frozenset(pools or ("sim",))
        self.ladders[intent].held.append(action)
        return action

    def apply(self) -> None:
        self.actions.regulate(self.ladders, self.signals, self.now_s)
        self.actions.apply(self.ladders, POLICY, self.reach, self.queues, self.steering, self.now_s)
        self.holding = self.actions.holding(
            self.ladders, POLICY, self.reach, self.signals, self.now_s
        )

    def late(self) -> None:
        self.now_s += 10.0
        for lane in (SIM, SMALL):
            self.went("interactive", lane)
        self.signals.intent("interactive").ttft.add(self.now_s, 3.0)

    def in_time(self) -> None:
        self.now_s += 10.0
        for lane in (SIM, SMALL):
            self.went("interactive", lane)
        self.signals.intent("interactive").ttft.add(self.now_s, 0.2)

    def places(self, lane: tuple[str, str], priority: int) -> int:
        return self.queues[lane[0]].lane(lane[1]).places(priority)


# -- for single requests ----------------------------------------------------------------------


def test_where_nothing_is_held_requests_are_decided_in_calm() -> None:
    scene = Scene()
    scene.apply()
    assert scene.holding is CALM


def test_what_shapes_requests_is_handed_to_their_own_intent() -> None:
    scene = Scene()
    switch, cap = scene.hold({"switch_model": "small"}), scene.hold({"cap_tokens": 64})
    scene.hold({"reroute": True, "dry_run": True}, "quick")
    cap.verdict = "confirmed"
    scene.apply()
    assert [(h.action, h.unverified) for h in scene.holding.rungs["interactive"]] == [
        (switch.number, True),
        (cap.number, False),
    ]
    (rehearsed,) = scene.holding.rungs["quick"]
    assert rehearsed.rung.dry_run
    assert not rehearsed.unverified, "what does nothing has nobody to be compared with"
    assert scene.holding.declines == ()


def test_a_holding_ends_with_the_first_lease_that_runs_out() -> None:
    scene = Scene()
    first, second = scene.hold({"cap_tokens": 64}), scene.hold({"switch_model": "small"})
    for leases in ((170.0, 150.0), (150.0, 170.0)):
        first.lease_until_s, second.lease_until_s = leases
        scene.apply()
        assert scene.holding.until_s == 150.0


@pytest.mark.req("INT-6")
@pytest.mark.parametrize("rung", ["order", "hold_back", {"reduce_batching": "50%"}])
def test_what_changes_only_pools_has_a_lease_that_requests_find_out_about(rung: object) -> None:
    scene = Scene()
    scene.hold(rung)
    scene.apply()
    assert scene.holding.until_s == scene.now_s + LEASE_S
    assert (scene.holding.rungs, scene.holding.declines) == ({}, ())


def test_shed_and_refuse_turn_away_lower_classes_in_the_actions_pools() -> None:
    scene = Scene()
    scene.hold("shed", "quick", "sim", "far")
    scene.hold("refuse")
    scene.apply()
    refuse, shed = scene.holding.declines  # in the order of the intents
    assert (shed.intent, shed.below, shed.pools) == ("quick", 20, {"sim", "far"})
    assert (shed.share, shed.sheddable_only) == (SHED_START, True)
    assert (refuse.intent, refuse.below, refuse.pools) == ("interactive", 10, {"sim"})
    assert (refuse.share, refuse.sheddable_only) == (1.0, False)


def test_a_hedge_waits_as_long_as_nearly_all_first_tokens_take() -> None:
    scene = Scene()
    scene.hold("hedge")
    scene.apply()
    (held,) = scene.holding.rungs["interactive"]
    assert held.hedge_after_s == HEDGE_DEFAULT_S
    for nth in range(100):
        scene.signals.lane(SIM).upstream_ttft.add(scene.now_s, (nth + 1) / 100)
    scene.apply()
    (held,) = scene.holding.rungs["interactive"]
    assert held.hedge_after_s == pytest.approx(0.95, rel=0.02)


# -- for pools ----------------------------------------------------------------------------------


def test_lower_classes_are_held_back_where_the_intent_goes_now() -> None:
    scene = Scene()
    scene.hold("hold_back", "interactive", "sim", "far")
    scene.apply()
    kept = int(20 * HOLD_START)
    assert (scene.places(SIM, 9), scene.places(SIM, 10)) == (kept, 20)
    assert scene.places(SMALL, -10) == kept
    assert scene.places(FAR, -10) == 20, "there is nobody to make room for"


def test_those_who_are_held_back_get_less_while_requests_are_late_and_slowly_more_again() -> None:
    scene = Scene()
    action = scene.hold("hold_back")
    scene.apply()
    shares = [action.share]
    for _ in range(60):
        scene.late()
        scene.apply()
        shares.append(action.share)
    assert shares[0] == HOLD_START
    assert shares[-1] == HOLD_MIN
    assert shares == sorted(shares, reverse=True)
    assert scene.places(SIM, -10) == int(20 * HOLD_MIN)
    down = len([share for share in shares if share > HOLD_MIN])
    up = 0
    while action.share < HOLD_START:
        scene.in_time()
        scene.apply()
        up += 1
    assert up > 2 * down, "slower than it came"


def test_the_share_that_is_shed_grows_while_requests_are_late_and_shrinks_slowly() -> None:
    scene = Scene()
    action = scene.hold("shed")
    scene.apply()
    assert action.share == SHED_START
    for nth in range(1, 5):
        scene.late()
        scene.apply()
        assert action.share == pytest.approx(SHED_START + nth * SHED_STEP)
    for _ in range(40):
        scene.late()
        scene.apply()
    assert action.share == 1.0
    assert scene.holding.declines[0].share == 1.0
    scene.in_time()
    scene.apply()
    assert 1.0 - SHED_STEP < action.share < 1.0
    for _ in range(200):
        scene.in_time()
        scene.apply()
    assert action.share == SHED_START / 2, "it does not end by itself: the ladder gives it back"


def test_refusals_count_as_late_where_nobody_gets_a_first_token() -> None:
    scene = Scene()
    action = scene.hold("shed", "quick")  # which was promised no first token
    scene.apply()
    for _ in range(5):
        scene.signals.intent("quick").arrivals.add(scene.now_s, 10.0)
        scene.signals.intent("quick").refused.add(scene.now_s, 1.0)
        scene.apply()
    assert action.share > SHED_START


def test_order_lets_callers_of_its_class_pass_each_other_a_little() -> None:
    scene = Scene()
    scene.hold("order")
    scene.apply()
    assert scene.queues["sim"].order_slack_tokens == {10: ORDER_SLACK_TOKENS}
    assert scene.queues["far"].order_slack_tokens == {}


def test_batching_is_reduced_to_a_share_of_what_ran_when_it_began() -> None:
    scene = Scene()
    scene.queues["sim"].lane("big").inflight = 16
    action = scene.hold({"reduce_batching": "50%"})
    scene.apply()
    assert scene.steering.caps == {SIM: 8.0, SMALL: 1.0}
    scene.queues["sim"].lane("big").inflight = 8
    scene.apply()
    assert scene.steering.caps[SIM] == 8.0, "once, and not again and again"
    tighter = scene.hold({"reduce_batching": "25%"})
    scene.apply()
    assert scene.steering.caps[SIM] == 2.0, "the tighter of two counts"
    scene.ladders["interactive"].held.reverse()
    scene.apply()
    assert scene.steering.caps[SIM] == 2.0, "whichever came first"
    scene.ladders["interactive"].held.remove(tighter)
    scene.apply()
    assert scene.steering.caps[SIM] == 8.0
    scene.ladders["interactive"].held.remove(action)
    scene.apply()
    assert scene.steering.caps == {}


@pytest.mark.parametrize("rung", ["order", "hold_back", {"reduce_batching": "50%"}])
def test_what_only_rehearses_changes_no_pool(rung: object) -> None:
    scene = Scene()
    told = {rung: True} if isinstance(rung, str) else rung
    assert isinstance(told, dict)
    scene.hold({**told, "dry_run": True})
    scene.apply()
    assert scene.steering.caps == {}
    assert scene.queues["sim"].order_slack_tokens == {}
    assert scene.places(SIM, -10) == 20


@given(
    rungs=st.lists(
        st.tuples(
            st.sampled_from(["interactive", "quick", "batch"]),
            st.sampled_from(
                ["order", "hold_back", "shed", "refuse", "hedge", {"reduce_batching": "50%"}]
            ),
        ),
        max_size=8,
    ),
    ticks=st.integers(1, 5),
)
def test_an_action_that_is_no_longer_held_leaves_no_trace(
    rungs: list[tuple[str, object]], ticks: int
) -> None:
    scene = Scene()
    for intent, rung in rungs:
        scene.hold(rung, intent)
    for _ in range(ticks):
        scene.late()
        scene.apply()
    for ladder in scene.ladders.values():
        ladder.held.clear()
    scene.apply()
    assert scene.holding is CALM
    assert scene.steering.caps == {}
    for lane in (SIM, SMALL, FAR):
        assert scene.places(lane, -1000) == 20
    assert all(queue.order_slack_tokens == {} for queue in scene.queues.values())
