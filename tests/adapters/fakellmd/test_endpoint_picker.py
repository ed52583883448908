"""One pool's picker: admission with and without flow control, evictions, and one fate for each call."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fakellmd import epp_drops
from adapters.fakellmd.endpoint_picker import Effect, EndpointPicker, Evict, Forward, Refuse
from adapters.fakellmd.epp_drops import Outcome
from adapters.fakellmd.epp_headers import Wants
from adapters.fakellmd.epp_settings import EppSettings, Saturation
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.settings import LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")
MakeCall = Callable[..., Call]
OBJECTIVES = {"critical": 10, "batch": -5, "nightly": -7}


class FakeEngine:
    """An engine whose queue is set by hand."""

    def __init__(self, waiting: int = 0) -> None:
        self.running = 1
        self.waiting = waiting
        self.alive = True

    def kv_usage(self, now_s: float) -> float:
        return 0.1


class Ledger:
    """A witness that writes everything down."""

    def __init__(self) -> None:
        self.left: list[tuple[int, Outcome, float]] = []

    def queue_left(self, call: Call, outcome: Outcome, waited_s: float) -> None:
        self.left.append((call.id, outcome, waited_s))


class Scene:
    def __init__(self, *engines: FakeEngine, **epp: Any) -> None:
        defaults = {"flow_control": True, "scrape_interval_s": 0.0, "objectives": OBJECTIVES}
        self.engines = engines or (FakeEngine(),)
        self.settings = LlmdSettings(
            models=(ServedModel(name="m"),), epp=EppSettings(**(defaults | epp))
        )
        self.witness = Ledger()
        self.picker = EndpointPicker(self.engines, self.settings, self.witness, started_s=0.0)

    def change(self, now_s: float, **epp: Any) -> list[Effect]:
        changed = msgspec.structs.replace(self.settings.epp, **epp)
        self.settings = msgspec.structs.replace(self.settings, epp=changed)
        return self.picker.configure(now_s, self.settings)


# -- without flow control ---------------------------------------------------------------


def test_without_flow_control_only_the_sheddable_are_refused_and_only_when_full(
    make_call: MakeCall,
) -> None:
    scene = Scene(FakeEngine(waiting=5), flow_control=False)
    assert scene.picker.arrive(0.0, make_call(1, priority=-5)) == [Refuse(1, epp_drops.SHED)]
    for number, priority in ((2, 0), (3, 10)):
        (effect,) = scene.picker.arrive(0.0, make_call(number, priority=priority))
        assert effect == Forward(number, None, {"x-went-into-resp-headers": "true"})
    scene.engines[0].waiting = 4
    (effect,) = scene.picker.arrive(0.0, make_call(4, priority=-5))
    assert isinstance(effect, Forward)
    assert scene.picker.next_event_s() is None
    assert scene.witness.left == []


def test_an_empty_pool_sheds_the_sheddable_and_has_no_endpoint_for_the_rest(
    make_call: MakeCall,
) -> None:
    scene = Scene(flow_control=False)
    scene.engines[0].alive = False
    assert scene.picker.arrive(0.0, make_call(1, priority=-5)) == [Refuse(1, epp_drops.SHED)]
    assert scene.picker.arrive(0.0, make_call(2)) == [Refuse(2, epp_drops.NO_CANDIDATES)]


# -- with it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "until_s", "told"),
    [
        ("v0.9", 2.25, None),
        ("v0.10", 2.25, None),
        ("main", 2.25, "1250"),
        ("main", 2.001, "1001"),  # 2.001 - 1 is a little less than 1.001
        ("main", 2.0019, "1001"),
    ],
)
def test_main_alone_tells_how_long_a_dispatched_call_has_waited(
    make_call: MakeCall, profile: str, until_s: float, told: str | None
) -> None:
    scene = Scene(FakeEngine(waiting=5), profile=profile)
    assert scene.picker.arrive(1.0, make_call(1)) == []
    assert [call.id for call in scene.picker.queued()] == [1]
    scene.engines[0].waiting = 0
    scene.picker.poke(until_s)
    (forward,) = scene.picker.wake(until_s)
    assert isinstance(forward, Forward)
    assert forward.headers.get("x-llm-d-flow-queue-duration-ms") == told
    assert scene.witness.left == [(1, "Dispatched", pytest.approx(until_s - 1.0))]
    assert list(scene.picker.queued()) == []


def test_a_dispatched_call_may_still_find_no_pod(make_call: MakeCall) -> None:
    """The queue let it go; the scheduler has the last word."""
    detector = Saturation(detector="utilization", filters=False)
    scene = Scene(saturation=detector, admitters=("probabilistic-admitter",))
    scene.engines[0].waiting = 4
    (refused,) = scene.picker.arrive(0.0, make_call(1, priority=-5))
    assert isinstance(refused, Refuse)
    assert refused.drop.status == 500
    assert scene.witness.left == [(1, "Dispatched", 0.0)]
    assert len(scene.picker.scheduler.inflight) == 0


def test_a_client_that_leaves_the_queue_is_counted_and_never_forwarded(make_call: MakeCall) -> None:
    scene = Scene(FakeEngine(waiting=5))
    call = make_call(1)
    scene.picker.arrive(0.0, call)
    scene.picker.release(0.5, call)
    scene.picker.release(0.5, call)
    assert scene.witness.left == [(1, "EvictedContextCancelled", 0.5)]
    scene.engines[0].waiting = 0
    scene.picker.poke(0.5)
    assert scene.picker.wake(0.5) == []


def test_the_end_of_a_call_has_the_queue_look_again(make_call: MakeCall) -> None:
    detector = Saturation(detector="concurrency", max_concurrency=1)
    scene = Scene(saturation=detector, default_request_ttl_s=0.0)
    first, second = make_call(1), make_call(2)
    scene.picker.arrive(0.0, first)
    scene.picker.placed(1, 0)
    assert scene.picker.arrive(0.2, second) == []
    scene.picker.release(0.7, first)
    assert scene.picker.next_event_s() == 0.7
    (forward,) = scene.picker.wake(0.7)
    assert forward.call == 2


def test_a_halted_queue_waits_for_the_next_scrape(make_call: MakeCall) -> None:
    scene = Scene(FakeEngine(waiting=5), scrape_interval_s=0.05)
    scene.picker.arrive(0.01, make_call(1))
    scene.engines[0].waiting = 0
    assert scene.picker.next_event_s() == pytest.approx(0.05)
    assert [effect.call for effect in scene.picker.wake(0.05)] == [1]


def test_served_tokens_decide_who_is_next_where_bands_are_program_aware(
    make_call: MakeCall,
) -> None:
    scene = Scene(
        FakeEngine(),
        default_band=msgspec.convert(
            {"fairness": "program-aware"}, type(EppSettings().default_band)
        ),
    )
    for number, fairness_id in ((1, "greedy"), (2, "modest")):
        call = make_call(number, fairness_id=fairness_id)
        scene.picker.arrive(0.0, call)
        scene.picker.completed(0.0, call, 1000 if fairness_id == "greedy" else 1)
        scene.picker.release(0.0, call)
    scene.engines[0].waiting = 5
    for number, fairness_id in ((3, "greedy"), (4, "modest")):
        scene.picker.arrive(0.0, make_call(number, fairness_id=fairness_id))
    scene.engines[0].waiting = 0
    scene.picker.poke(0.0)
    (forward,) = scene.picker.wake(0.001)
    assert forward.call == 4


def test_service_fades_while_a_tenant_has_nothing_under_way(make_call: MakeCall) -> None:
    scene = Scene()
    first, second = make_call(1, fairness_id="t"), make_call(2, fairness_id="t")
    scene.picker.arrive(0.0, first)
    scene.picker.completed(0.0, first, 500)
    scene.picker.release(0.0, first)
    scene.picker.arrive(60.0, second)
    assert scene.picker.ledger.service("t") == (4 + 2 * 500) / 2


# -- settings and the end ---------------------------------------------------------------


def test_turning_flow_control_off_refuses_whoever_waits_as_a_restart_would(
    make_call: MakeCall,
) -> None:
    scene = Scene(FakeEngine(waiting=5))
    scene.picker.arrive(0.0, make_call(1))
    (refused,) = scene.change(0.5, flow_control=False)
    assert isinstance(refused, Refuse)
    assert refused.drop.reason == "rejected-shutting-down"
    (forward,) = scene.picker.arrive(0.5, make_call(2))
    assert isinstance(forward, Forward)
    scene.change(0.6, flow_control=True)
    assert scene.picker.arrive(0.6, make_call(3)) == []
    assert [effect.call for effect in scene.picker.shutdown(0.7)] == [3]


# -- eviction ---------------------------------------------------------------------------


def test_a_blocked_band_evicts_the_newest_of_the_lowest_priority(make_call: MakeCall) -> None:
    detector = Saturation(detector="concurrency", max_concurrency=3)
    scene = Scene(saturation=detector, enable_eviction=True, default_request_ttl_s=0.0)
    running = [make_call(n, priority=p) for n, p in ((1, -5), (2, -7), (3, -7))]
    for call in running:
        scene.picker.arrive(0.0, call)
        scene.picker.placed(call.id, 0)
    assert scene.picker.arrive(1.0, make_call(4, priority=-7)) == []  # no demand above them
    assert scene.picker.arrive(1.0, make_call(5, priority=10)) == [Evict(3)]
    scene.picker.release(1.0, running[2])
    assert [effect.call for effect in scene.picker.wake(1.001)] == [5]
    scene.picker.placed(5, 0)
    # Not again before the gauge can have seen it.
    assert scene.picker.arrive(1.2, make_call(6, priority=10)) == []
    assert scene.picker.next_event_s() == 1.5
    assert scene.picker.wake(1.5) == [Evict(2)]


def test_without_eviction_nothing_that_runs_is_broken_off(make_call: MakeCall) -> None:
    detector = Saturation(detector="concurrency", max_concurrency=1)
    scene = Scene(saturation=detector)
    scene.picker.arrive(0.0, make_call(1, priority=-7))
    scene.picker.placed(1, 0)
    assert scene.picker.arrive(1.0, make_call(2, priority=10)) == []


# -- one fate, whatever happens ---------------------------------------------------------

Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["arrive", "arrive", "arrive", "leave", "end", "off", "on", "lose", "back"]
        ),
        st.integers(0, 4),
        st.sampled_from([10, 0, -5, -7]),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(
    history=steps, evicting=st.booleans(), detector=st.sampled_from(["concurrency", "utilization"])
)
def test_every_call_is_forwarded_or_refused_once_or_left_before(
    history: list[Step], evicting: bool, detector: str
) -> None:
    saturation = Saturation(detector=detector, max_concurrency=2, queue_depth_threshold=2)
    engine = FakeEngine()
    scene = Scene(engine, saturation=saturation, enable_eviction=evicting)
    calls: dict[int, Call] = {}
    fates: dict[int, list[str]] = {}
    flying: list[int] = []
    now_s = 0.0

    def carry_out(effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Forward):
                fates[effect.call].append("forward")
                scene.picker.placed(effect.call, 0)
                flying.append(effect.call)
                engine.waiting = max(len(flying) - 1, 0)
            elif isinstance(effect, Refuse):
                fates[effect.call].append("refuse")
                scene.picker.release(now_s, calls[effect.call])
            else:
                assert effect.call in flying
                assert calls[effect.call].priority < 0
                end(effect.call)

    def end(number: int) -> None:
        flying.remove(number)
        engine.waiting = max(len(flying) - 1, 0)
        scene.picker.release(now_s, calls[number])

    def run_until(until_s: float) -> None:
        nonlocal now_s
        while (due_s := scene.picker.next_event_s()) is not None and due_s <= until_s:
            now_s = max(now_s, due_s)
            carry_out(scene.picker.wake(now_s))
        now_s = until_s

    for number, (kind, quarters, priority) in enumerate(history):
        run_until(now_s + quarters / 4)
        waiting = [call.id for call in scene.picker.queued()]
        if kind == "arrive":
            calls[number] = Call(
                id=number,
                model="m",
                target="m",
                wants=Wants(request_id=str(number), fairness_id="ab"[number % 2]),
                priority=priority,
                prompt_tokens=1,
                body_bytes=1,
                received_s=now_s,
            )
            fates[number] = []
            carry_out(scene.picker.arrive(now_s, calls[number]))
        elif kind == "leave" and waiting:
            fates[waiting[quarters % len(waiting)]].append("left")
            scene.picker.release(now_s, calls[waiting[quarters % len(waiting)]])
        elif kind == "end" and flying:
            end(flying[quarters % len(flying)])
        elif kind in ("off", "on"):
            carry_out(scene.change(now_s, flow_control=kind == "on"))
        elif kind in ("lose", "back"):
            engine.alive = kind == "back"
            scene.picker.poke(now_s)
        assert len(scene.picker.scheduler.inflight) == len(flying)
    engine.alive = True
    while flying:
        end(flying[0])
    carry_out(scene.picker.shutdown(now_s))
    assert all(len(met) == 1 for met in fates.values()), fates
    assert set(fates) == set(calls)
