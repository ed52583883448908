"""Limits of all lanes: from what was measured to `policies.limit`, and back into the lanes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission import NO_LIMIT, AdmissionQueue, AdmissionSettings
from policies.lines import Ticket
from policies.reach import Reach
from policies.signals import Signals
from policies.steering import START_PER_ENDPOINT, PoolBounds, Steering
from tests.policies.scenarios import policy_set

pytestmark = pytest.mark.req("INT-4")

POLICY = policy_set(
    "intents: [{name: i, match: {default: true}, objectives: {ttft_p95: 1s, tpot_p95: 40ms}}]"
)
LANE = ("sim", "big")


class Scene:
    def __init__(self, *, endpoints: int = 1, ceiling: float = 200.0) -> None:
        self.now_s = 100.0
        self.signals = Signals()
        self.reach = Reach(POLICY, self.signals)
        told = AdmissionSettings(limit=200, max_waiting=500, timeout_s=60.0)
        self.queue = AdmissionQueue(told)
        self.steering = Steering()
        self.bound(endpoints, ceiling)
        self.lane = self.queue.lane("big")
        self.requests = 0

    def bound(self, endpoints: int, ceiling: float = 200.0) -> None:
        bounds = PoolBounds(endpoints=endpoints, ceiling=ceiling)
        self.steering.bound("sim", self.queue, bounds)

    def load(self, count: int) -> None:
        for _ in range(count):
            self.requests += 1
            self.queue.offer(Ticket(request=self.requests, lane="big"), self.now_s)
        self.reach.went("i", LANE, "big", 0, self.now_s)

    def tick(self, gap_s: float | None = None) -> list[str]:
        self.now_s += 0.25
        for _ in range(10 if gap_s is not None else 0):
            self.signals.lane(LANE).pace(self.now_s, gap_s or 0.0)
        self.reach.went("i", LANE, "big", 0, self.now_s)
        told = self.steering.step(
            self.now_s, self.signals, self.reach, lambda lane: 0, lambda lane: []
        )
        return [reason for _, reason, _ in told]


def test_a_model_begins_with_sixteen_an_endpoint_within_the_ceiling() -> None:
    assert Scene(endpoints=2).lane.limit == 2 * START_PER_ENDPOINT
    assert Scene(endpoints=2, ceiling=5.0).lane.limit == 5.0
    assert Scene(endpoints=0, ceiling=0.0).lane.limit == 1.0


def test_slow_streams_lower_the_limit_and_quick_ones_raise_it_while_it_holds_back() -> None:
    scene = Scene()
    scene.load(30)
    before = scene.lane.limit
    scene.tick(gap_s=0.08)
    assert scene.lane.limit < before
    assert scene.steering.reasons[LANE] == "shrink"
    before = scene.lane.limit
    scene.now_s += 2.0
    scene.tick(gap_s=0.02)
    assert scene.lane.limit > before
    assert scene.steering.limit_of(LANE) == scene.lane.limit


def test_without_a_fresh_pace_the_limit_is_held() -> None:
    scene = Scene()
    scene.load(30)
    scene.tick(gap_s=0.05)
    held = scene.lane.limit
    for _ in range(40):
        scene.tick()
    assert scene.lane.limit <= held
    assert scene.steering.reasons[LANE] == "no_data"
    frozen = scene.lane.limit
    scene.tick()
    assert scene.lane.limit == frozen


def test_a_limit_that_holds_nobody_back_does_not_grow() -> None:
    scene = Scene()
    scene.load(3)
    for _ in range(20):
        scene.tick(gap_s=0.01)
    assert scene.lane.limit == START_PER_ENDPOINT
    assert scene.steering.reasons[LANE] == "not_binding"


def test_who_was_turned_away_since_the_last_tick_counts_as_held_back() -> None:
    scene = Scene()
    scene.load(16)
    scene.lane.turned_away = 3
    scene.tick(gap_s=0.01)
    assert scene.lane.turned_away == 0
    assert scene.lane.limit > START_PER_ENDPOINT


def test_those_who_wait_for_their_classes_share_are_not_held_back_by_the_limit() -> None:
    scene = Scene()
    scene.lane.hold_back({10: 0.5})
    scene.load(30)
    assert (scene.lane.inflight, scene.lane.waiting > 0) == (8, True)
    scene.tick(gap_s=0.01)
    assert scene.steering.reasons[LANE] == "not_binding"


@pytest.mark.req("INT-5")
def test_a_cap_bounds_its_lane_and_ends_with_its_action() -> None:
    scene = Scene()
    scene.load(40)
    scene.steering.caps = {LANE: 6.0}
    scene.tick(gap_s=0.01)
    assert scene.lane.limit == 6.0
    scene.steering.caps = {}
    for _ in range(8):
        scene.tick(gap_s=0.01)
    assert scene.lane.limit > 6.0


def test_a_cap_below_one_request_an_endpoint_is_none() -> None:
    scene = Scene(endpoints=3)
    scene.steering.caps = {LANE: 1.0}
    scene.load(60)
    scene.tick(gap_s=0.01)
    assert scene.lane.limit == 3.0


def test_a_lost_endpoint_takes_its_share_of_the_limit_with_it_and_brings_it_back() -> None:
    scene = Scene(endpoints=2)
    scene.load(10)
    scene.tick(gap_s=0.02)
    assert scene.lane.limit == 32.0
    scene.bound(1, 100.0)
    assert scene.lane.limit == 16.0
    assert scene.steering.limit_of(LANE) == 16.0
    scene.bound(2)
    assert scene.lane.limit == 32.0


def test_with_no_endpoint_left_what_was_known_is_kept() -> None:
    scene = Scene(endpoints=2)
    scene.load(10)
    scene.tick(gap_s=0.02)
    scene.bound(0, 0.0)
    assert scene.lane.limit == 32.0
    scene.bound(2)
    assert scene.lane.limit == 32.0


def test_a_refusal_of_the_backend_halves_it_once_a_flight() -> None:
    scene = Scene()
    scene.load(10)
    scene.steering.refused(LANE, "capacity", 99.0, scene.now_s)
    assert scene.lane.limit == START_PER_ENDPOINT, "of a lane that was never looked at, nothing"
    scene.tick(gap_s=0.02)
    for _ in range(3):
        scene.steering.refused(LANE, "capacity", 99.0, scene.now_s)
    assert scene.lane.limit == START_PER_ENDPOINT / 2
    scene.steering.refused(LANE, "expired", scene.now_s + 1.0, scene.now_s + 2.0)
    assert scene.lane.limit == pytest.approx(START_PER_ENDPOINT / 2 * 0.9)


def test_a_queue_inside_the_backend_lowers_the_limit() -> None:
    scene = Scene()
    scene.load(30)
    for _ in range(60):
        scene.lane.prefill.learn(400, 0.05)
    for _ in range(60):
        scene.lane.prefill.learn(400, 0.9)
        scene.signals.lane(LANE).upstream_ttft.add(scene.now_s, 0.9)
    scene.tick(gap_s=0.02)
    assert scene.steering.reasons[LANE] == "upstream_queue"
    assert scene.lane.limit < START_PER_ENDPOINT


@pytest.mark.req("INT-7")
def test_an_objective_that_cannot_be_met_is_given_up_and_told_once() -> None:
    scene = Scene()
    scene.load(1)
    told = []
    for _ in range(200):
        told += scene.tick(gap_s=0.5)
    assert told == ["unattainable"]
    assert scene.lane.limit == 200.0


def test_a_pool_that_nobody_knows_has_room_for_one() -> None:
    assert Steering().bounds_of("nowhere") == PoolBounds(endpoints=1, ceiling=1.0)
    assert Steering().limit_of(LANE) is None
    assert AdmissionQueue(Scene().queue.settings).lane_limit == NO_LIMIT


@given(
    gaps=st.lists(st.sampled_from([None, 0.001, 0.02, 0.039, 0.05, 0.4]), max_size=40),
    endpoints=st.integers(1, 4),
    ceiling=st.integers(1, 60),
    cap=st.one_of(st.none(), st.floats(0.5, 80.0)),
)
def test_a_limit_never_leaves_its_bounds(
    gaps: list[float | None], endpoints: int, ceiling: int, cap: float | None
) -> None:
    scene = Scene(endpoints=endpoints, ceiling=float(ceiling))
    scene.steering.caps = {} if cap is None else {LANE: cap}
    scene.load(100)
    for gap_s in gaps:
        scene.tick(gap_s=gap_s)
        most = min(float(ceiling), cap if cap is not None else float(ceiling))
        assert endpoints <= scene.lane.limit <= max(most, endpoints)


def test_between_two_ticks_a_limit_opens_with_answers_and_only_while_it_is_full_and_starting() -> (
    None
):
    scene = Scene()
    begun = 16

    def opens() -> bool:
        return scene.steering.opens(
            LANE, lambda lane: begun, scene.now_s, lambda: scene.signals, scene.reach
        )

    scene.load(10)
    assert not opens(), "it is not full"
    scene.load(10)
    assert not opens(), "nothing is known of its pace, which was promised"
    scene.signals.lane(LANE).upstream_ttft.add(scene.now_s, 0.020)
    assert opens()
    assert scene.lane.limit == pytest.approx(16 * 0.98 * 2, rel=0.02)
    scene.tick()
    scene.steering.refused(LANE, "capacity", scene.now_s, scene.now_s + 0.1)
    before = scene.lane.limit
    begun = 100
    assert not opens()
    assert scene.lane.limit == before


def test_a_limit_opens_no_further_than_its_ceiling() -> None:
    scene = Scene(ceiling=20.0)
    scene.reach = Reach(policy_set("intents: [{name: i, match: {default: true}}]"), scene.signals)
    scene.load(40)
    for _ in range(3):
        scene.steering.opens(LANE, lambda lane: 19, scene.now_s, lambda: scene.signals, scene.reach)
    assert scene.lane.limit == 20.0
