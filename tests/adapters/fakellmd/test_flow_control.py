"""Flow control: strict bands, halts, room, TTLs and sweeps, and the promises for any history."""

from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fakellmd.epp_settings import Band, EppSettings, UsageLimit
from adapters.fakellmd.flow_control import Dispatch, Dropped, Fate, FlowController
from adapters.fakellmd.ordering import Ask
from adapters.fakellmd.service_ledger import ServiceLedger

pytestmark = pytest.mark.req("INT-9")
OBJECTIVES = {"critical": 10, "batch": -5}


class FakePool:
    """A pool whose saturation is set by hand; each dispatch may add to it, as a live one would."""

    def __init__(self, saturation: float = 0.0, step: float = 0.0) -> None:
        self.full = saturation
        self.step = step
        self.size = 1
        self.asked = 0
        self.changes_at_s = inf

    def saturation(self, now_s: float) -> float:
        self.asked += 1
        return self.full

    def pods(self) -> int:
        return self.size

    def changes_s(self, now_s: float) -> float:
        return self.changes_at_s


class Scene:
    """A controller, its pool, and everything that it said, with the time of each."""

    def __init__(self, pool: FakePool | None = None, **epp: Any) -> None:
        self.pool = pool or FakePool()
        self.settings = EppSettings(**({"flow_control": True, "objectives": OBJECTIVES} | epp))
        self.flow = FlowController(self.settings, self.pool, ServiceLedger(), started_s=0.0)
        self.said: list[tuple[float, Fate]] = []
        self.now_s = 0.0

    def hear(self, fates: list[Fate]) -> list[Fate]:
        self.said += [(self.now_s, fate) for fate in fates]
        self.pool.full += self.pool.step * sum(isinstance(fate, Dispatch) for fate in fates)
        return fates

    def offer(self, call: int, priority: int = 0, flow: str = "a", **members: Any) -> list[Fate]:
        ask = Ask(
            call=call,
            priority=priority,
            flow=flow,
            received_s=self.now_s,
            body_bytes=members.pop("body_bytes", 1),
            **members,
        )
        return self.hear(self.flow.offer(self.now_s, ask))

    def run(self, until_s: float) -> None:
        """Wake it whenever it wants to be."""
        while (due_s := self.flow.next_event_s()) is not None and due_s <= until_s:
            self.now_s = max(self.now_s, due_s)
            self.hear(self.flow.wake(self.now_s))
        self.now_s = until_s

    def open(self, saturation: float = 0.0) -> None:
        self.pool.full = saturation
        self.flow.poke(self.now_s)

    @property
    def dispatched(self) -> list[int]:
        return [fate.call for _, fate in self.said if isinstance(fate, Dispatch)]

    @property
    def dropped(self) -> dict[int, str]:
        return {fate.call: fate.outcome for _, fate in self.said if isinstance(fate, Dropped)}


# -- who goes when ----------------------------------------------------------------------


def test_an_open_pool_takes_a_request_the_moment_it_comes() -> None:
    scene = Scene()
    assert scene.offer(1) == [Dispatch(1, 0.0)]
    assert scene.flow.next_event_s() is None
    assert scene.flow.waiting == 0


def test_a_burst_goes_one_with_each_arrival_and_a_backlog_one_a_millisecond() -> None:
    scene = Scene(FakePool(saturation=1.0))
    for call in range(4):
        assert scene.offer(call) == []
    scene.open()
    scene.run(1.0)
    assert [round(at_s * 1000, 6) for at_s, _ in scene.said] == [1, 2, 3, 4]
    assert scene.dispatched == [0, 1, 2, 3]
    fate = scene.said[-1][1]
    assert isinstance(fate, Dispatch)
    assert fate.waited_s == pytest.approx(0.004)


def test_a_band_goes_before_every_band_below_it() -> None:
    scene = Scene(FakePool(saturation=1.0))
    for call, priority in enumerate([-5, 0, 10, 0, -5, 10]):
        scene.offer(call, priority)
    scene.open()
    scene.run(1.0)
    assert scene.dispatched == [2, 5, 1, 3, 0, 4]


def test_a_halted_band_halts_every_band_below_it() -> None:
    """Head-of-line: at saturation 0.8 the middle band has reached its ceiling of 0.75; the lowest has
    nothing to wait for there, and goes nowhere all the same."""
    limit = UsageLimit(policy="priority-holdback", min_ceiling=0.5, max_ceiling=1.0)
    scene = Scene(FakePool(saturation=0.8), usage_limit=limit)
    scene.offer(1, -5)
    scene.offer(2, 10)
    assert scene.dispatched == [2]
    scene.offer(3, 0)
    scene.run(5.0)
    assert scene.dispatched == [2]
    scene.open(0.6)
    scene.run(6.0)
    assert scene.dispatched == [2, 3]
    scene.open(0.4)
    scene.run(7.0)
    assert scene.dispatched == [2, 3, 1]


def test_a_pulsing_band_is_served_in_one_of_so_many_milliseconds() -> None:
    limit = UsageLimit(policy="soft-reflective")
    scene = Scene(FakePool(saturation=0.75), usage_limit=limit, objectives={"batch": -5})
    for call in range(30):
        scene.offer(call, -5)
    scene.said.clear()
    start_s = scene.now_s
    scene.run(start_s + 0.012)
    assert len(scene.dispatched) == pytest.approx(4, abs=1)  # every third


def test_a_halted_queue_is_looked_at_again_only_when_the_pool_may_have_changed() -> None:
    scene = Scene(FakePool(saturation=1.0), default_request_ttl_s=0.0)
    scene.pool.changes_at_s = 0.05
    scene.offer(1)
    asked = scene.pool.asked
    assert scene.flow.next_event_s() == 0.05
    scene.pool.changes_at_s = inf
    scene.run(0.9)
    assert scene.pool.asked == asked + 1
    scene.flow.poke(scene.now_s)
    scene.run(0.95)
    assert scene.pool.asked == asked + 2


def test_fairness_and_order_are_the_bands_own() -> None:
    bands = (
        Band(priority=10, fairness="round-robin", ordering="fcfs"),
        Band(priority=0, ordering="slo-deadline"),
    )
    scene = Scene(FakePool(saturation=1.0), priority_bands=bands)
    for call, flow in enumerate("aaab"):
        scene.offer(call, 10, flow)
    for call, slo_ms in ((10, None), (11, 900), (12, 300)):
        scene.offer(call, 0, ttft_deadline_ms=slo_ms)
    scene.open()
    scene.run(1.0)
    assert scene.dispatched == [0, 3, 1, 2, 12, 11, 10]


def test_a_band_that_ran_empty_begins_its_round_anew() -> None:
    scene = Scene(priority_bands=(Band(priority=0, fairness="round-robin"),))
    scene.offer(1, flow="a")
    scene.open(1.0)
    for call, flow in ((2, "b"), (3, "a")):
        scene.offer(call, flow=flow)
    scene.open()
    scene.run(1.0)
    assert scene.dispatched == [1, 3, 2]


# -- room -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bound",
    [
        {"max_requests": 2},
        {"max_bytes": 25},
        {"priority_bands": (Band(priority=0, max_requests=2),)},
        {"priority_bands": (Band(priority=0, max_bytes=25),)},
    ],
)
def test_a_full_queue_rejects_the_newcomer_and_nobody_else(bound: dict[str, Any]) -> None:
    scene = Scene(FakePool(saturation=1.0), **bound)
    for call in (1, 2, 3):
        scene.offer(call, body_bytes=10)
    assert scene.dropped == {3: "RejectedCapacity"}
    scene.open()
    scene.run(1.0)
    assert scene.dispatched == [1, 2]
    assert scene.offer(4, body_bytes=10) == [Dispatch(4, 0.0)]


def test_a_band_that_is_full_does_not_shut_another() -> None:
    scene = Scene(FakePool(saturation=1.0), priority_bands=(Band(priority=-5, max_requests=1),))
    for call, priority in ((1, -5), (2, -5), (3, 0)):
        scene.offer(call, priority)
    assert scene.dropped == {2: "RejectedCapacity"}


def test_a_full_queue_in_front_of_an_empty_pool_says_that_there_is_none() -> None:
    scene = Scene(FakePool(saturation=1.0), max_requests=1)
    scene.pool.size = 0
    scene.offer(1)
    scene.offer(2)
    assert scene.dropped == {2: "RejectedNoEndpoints"}


def test_whoever_left_holds_room_until_the_next_sweep() -> None:
    scene = Scene(FakePool(saturation=1.0), max_requests=1)
    scene.run(0.25)
    scene.offer(1)
    scene.run(0.5)
    assert scene.flow.cancel(0.5, 1) == 0.25
    assert scene.flow.waiting == 0
    scene.offer(2)
    assert scene.dropped == {2: "RejectedCapacity"}
    scene.run(1.0)
    scene.offer(3)
    assert list(scene.dropped) == [2]
    with pytest.raises(KeyError):
        scene.flow.cancel(1.0, 1)


def test_a_request_whose_client_left_is_never_dispatched_but_costs_a_cycle() -> None:
    scene = Scene(FakePool(saturation=1.0))
    scene.offer(1)
    scene.offer(2)
    scene.flow.cancel(0.0, 1)
    scene.open()
    scene.run(0.0015)
    assert scene.dispatched == []
    scene.run(0.5)
    assert scene.dispatched == [2]


# -- too late ---------------------------------------------------------------------------


def test_a_sweep_once_a_second_finds_who_has_waited_too_long() -> None:
    scene = Scene(FakePool(saturation=1.0), default_request_ttl_s=1.0)
    scene.run(0.25)
    scene.offer(1)
    scene.run(1.0)
    scene.offer(2)
    scene.run(9.0)
    assert scene.said == [
        (2.0, Dropped(1, "EvictedTTL", 1.75)),
        (2.0, Dropped(2, "EvictedTTL", 1.0)),
    ]
    assert scene.flow.next_event_s() is None


def test_a_ttl_of_zero_lets_requests_wait_for_ever() -> None:
    scene = Scene(FakePool(saturation=1.0), default_request_ttl_s=0.0)
    scene.offer(1)
    scene.run(100_000.0)
    assert scene.said == []


@pytest.mark.parametrize(
    ("own_s", "default_s", "at_s"), [(0.5, 4.0, 1.0), (9.0, 4.0, 4.0), (2.5, 0.0, 3.0)]
)
def test_a_client_may_shorten_its_wait_but_not_lengthen_it(
    own_s: float, default_s: float, at_s: float
) -> None:
    scene = Scene(FakePool(saturation=1.0), default_request_ttl_s=default_s)
    scene.offer(1, ttl_s=own_s)
    scene.run(20.0)
    assert [at_s for at_s, _ in scene.said] == [at_s]


def test_an_empty_pool_has_a_budget_of_its_own_and_says_so() -> None:
    scene = Scene(
        FakePool(saturation=1.0), default_request_ttl_s=2.0, no_endpoint_request_ttl_s=5.0
    )
    scene.pool.size = 0
    scene.offer(1)
    scene.run(4.9)
    assert scene.said == []
    scene.run(5.0)
    assert scene.dropped == {1: "EvictedNoEndpoints"}


def test_a_change_of_regime_grants_the_budget_afresh() -> None:
    scene = Scene(
        FakePool(saturation=1.0), default_request_ttl_s=2.0, no_endpoint_request_ttl_s=60.0
    )
    scene.pool.size = 0
    scene.offer(1)
    scene.run(10.5)
    scene.pool.size = 1
    scene.open(1.0)
    scene.run(12.4)
    assert scene.said == []
    scene.run(13.0)
    assert [(at_s, fate.call) for at_s, fate in scene.said] == [(13.0, 1)]
    assert scene.dropped == {1: "EvictedTTL"}


def test_v0_9_knows_one_budget_and_no_default() -> None:
    scene = Scene(FakePool(saturation=1.0), profile="v0.9")
    scene.pool.size = 0
    scene.offer(1)
    scene.run(10_000.0)
    assert scene.said == []
    told = Scene(FakePool(saturation=1.0), profile="v0.9", default_request_ttl_s=1.0)
    told.pool.size = 0
    told.offer(1)
    told.run(5.0)
    assert told.dropped == {1: "EvictedTTL"}


# -- the end, and other settings --------------------------------------------------------


def test_a_shutdown_drops_everybody_and_rejects_whoever_comes() -> None:
    scene = Scene(FakePool(saturation=1.0))
    for call in (1, 2, 3):
        scene.offer(call)
    scene.flow.cancel(0.0, 2)
    scene.hear(scene.flow.shutdown(0.0))
    assert scene.dropped == {1: "EvictedOther", 3: "EvictedOther"}
    scene.offer(4)
    assert scene.dropped[4] == "RejectedOther"
    assert scene.flow.next_event_s() is None


def test_other_settings_are_in_force_at_once_and_throw_nobody_out() -> None:
    scene = Scene(FakePool(saturation=0.7))
    scene.open(1.0)
    for call, slo_ms in ((1, 900), (2, 300), (3, 600)):
        scene.offer(call, ttft_deadline_ms=slo_ms)
    bands = (Band(priority=0, ordering="slo-deadline", max_requests=1),)
    tight = UsageLimit(ceiling=0.5)
    changed = msgspec.structs.replace(scene.settings, priority_bands=bands, usage_limit=tight)
    scene.flow.configure(0.0, changed)
    scene.open(0.7)
    scene.run(0.5)
    assert scene.dispatched == []
    scene.offer(4)
    assert scene.dropped == {4: "RejectedCapacity"}
    scene.open(0.4)
    scene.run(0.6)
    assert scene.dispatched == [2, 3, 1]


def test_a_halt_is_told_once() -> None:
    scene = Scene(FakePool(saturation=1.5))
    scene.offer(1, -5)
    halt = scene.flow.take_halt()
    assert halt is not None
    assert (halt.saturation, halt.index, halt.ceilings) == (1.5, 0, [1.0, 1.0, 1.0])
    assert scene.flow.take_halt() is None
    assert not scene.flow.is_program_aware


# -- promises that hold for any history -------------------------------------------------

Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["offer", "offer", "offer", "cancel", "full", "open", "lose", "back"]),
        st.integers(0, 5),  # half seconds that pass before it
        st.sampled_from([10, 0, -5]),
        st.integers(0, 3),  # the flow, the TTL in seconds, whom to cancel
    ),
    max_size=40,
)
policies = st.sampled_from(["global-strict", "round-robin", "program-aware"])
orders = st.sampled_from(["fcfs", "edf", "slo-deadline"])


class History:
    """Any history, with what must be true checked at every step."""

    def __init__(self, **epp: Any) -> None:
        self.scene = Scene(
            FakePool(saturation=1.0, step=0.25),
            profile="main",
            default_request_ttl_s=3.0,
            max_requests=8,
            **epp,
        )
        self.asks: dict[int, Ask] = {}
        self.waiting: set[int] = set()
        self.met: dict[int, int] = {}

    def check(self, saturation: float, fates: list[Fate]) -> None:
        assert sum(isinstance(fate, Dispatch) for fate in fates) <= 1
        for fate in fates:
            self.met[fate.call] = self.met.get(fate.call, 0) + 1
            waited = self.waiting & {fate.call}
            if isinstance(fate, Dispatch):
                assert waited, "dispatched, and nobody waits for it"
                assert saturation < 1.0
                best = max(self.asks[call].priority for call in self.waiting)
                assert self.asks[fate.call].priority == best
            elif fate.outcome in ("EvictedTTL", "EvictedNoEndpoints"):
                own_s = self.asks[fate.call].ttl_s
                assert fate.waited_s >= (3.0 if own_s is None else min(own_s, 3.0)) or (
                    fate.outcome == "EvictedNoEndpoints" and fate.waited_s >= 3.0
                )
            self.waiting -= {fate.call}

    def run(self, until_s: float) -> None:
        scene = self.scene
        while (due_s := scene.flow.next_event_s()) is not None and due_s <= until_s:
            scene.now_s = max(scene.now_s, due_s)
            saturation = scene.pool.full
            self.check(saturation, scene.hear(scene.flow.wake(scene.now_s)))
        scene.now_s = until_s

    def step(self, number: int, step: Step) -> None:
        kind, halves, priority, amount = step
        scene = self.scene
        self.run(scene.now_s + halves / 2)
        if kind == "offer":
            ask = Ask(
                call=number,
                priority=priority,
                flow="abcd"[amount],
                body_bytes=1,
                received_s=scene.now_s,
                ttft_deadline_ms=amount * 100,
                ttl_s=float(amount) if amount else None,
            )
            self.asks[number] = ask
            self.waiting.add(number)
            saturation = scene.pool.full
            self.check(saturation, scene.hear(scene.flow.offer(scene.now_s, ask)))
        elif kind == "cancel" and self.waiting:
            gone = sorted(self.waiting)[amount % len(self.waiting)]
            scene.flow.cancel(scene.now_s, gone)
            self.met[gone] = self.met.get(gone, 0) + 1
            self.waiting.discard(gone)
        elif kind in ("full", "open"):
            scene.open(1.0 if kind == "full" else 0.0)
        elif kind in ("lose", "back"):
            scene.pool.size = 0 if kind == "lose" else 1
            scene.open(1.0 if kind == "lose" else scene.pool.full)
        assert scene.flow.waiting == len(self.waiting)
        assert scene.flow.bands.requests <= 8


@settings(max_examples=150)
@given(history=steps, fairness=policies, ordering=orders)
def test_every_request_meets_exactly_one_fate(
    history: list[Step], fairness: str, ordering: str
) -> None:
    bands = tuple(
        Band(priority=priority, fairness=fairness, ordering=ordering) for priority in (10, 0, -5)
    )
    run = History(priority_bands=bands)
    for number, step in enumerate(history):
        run.step(number, step)
    run.scene.pool.size, run.scene.pool.step = 1, 0.0
    run.scene.open()
    run.run(run.scene.now_s + 60.0)
    assert run.waiting == set()
    assert run.met == dict.fromkeys(run.asks, 1)
    assert run.scene.flow.next_event_s() is None
    assert run.scene.flow.bands.requests == 0


@settings(max_examples=60)
@given(history=steps)
def test_a_band_without_fairness_is_served_in_the_order_of_arrival(history: list[Step]) -> None:
    run = History()
    for number, step in enumerate(history):
        run.step(number, step)
    for priority in (10, 0, -5):
        mine = [call for call in run.scene.dispatched if run.asks[call].priority == priority]
        assert mine == sorted(mine)


@settings(max_examples=60)
@given(history=steps)
def test_nobody_waits_longer_than_its_ttl_and_one_sweep_in_front_of_a_full_pool(
    history: list[Step],
) -> None:
    run = History()
    for number, (kind, *rest) in enumerate(history):
        run.step(number, ("offer" if kind in ("open", "lose", "back") else kind, *rest))
    for _, fate in run.scene.said:
        assert isinstance(fate, Dropped)
        if fate.outcome == "EvictedTTL":
            ask = run.asks[fate.call]
            ttl_s = 3.0 if ask.ttl_s is None else ask.ttl_s
            assert ttl_s <= fate.waited_s <= ttl_s + 1.0
