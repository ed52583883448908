"""A queue in front of another engine than before: what was measured goes, and nobody who is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission import AdmissionQueue, AdmissionSettings, Admit, Effect
from policies.lines import Ticket
from policies.prefill import MIN_SAMPLES

pytestmark = pytest.mark.req("ENG-3", "ADM-2")

OPS = st.lists(
    st.tuples(
        st.sampled_from(("offer", "task", "done", "cancel", "forget", "wake", "limit")),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(ops=OPS)
def test_forgetting_changes_nobodys_fate(ops: list[tuple[str, int]]) -> None:
    """Each request is admitted or refused once, or still waits, wherever the forgetting falls."""
    queue = AdmissionQueue(AdmissionSettings(limit=2, max_waiting=3, timeout_s=5.0, max_tasks=3))
    queue.lane_limit = 2.0
    waiting, running, over = set[int](), set[int](), set[int]()
    now_s = 0.0

    def note(effects: list[Effect]) -> None:
        for effect in effects:
            assert effect.request in waiting
            waiting.discard(effect.request)
            (running if isinstance(effect, Admit) else over).add(effect.request)

    for number, (what, which) in enumerate(ops):
        now_s += which
        match what:
            case "offer" | "task":
                waiting.add(number)
                lane = "ab"[which % 2]
                due_s = now_s + which if which % 3 else None
                task = what == "task"
                note(
                    queue.offer(
                        Ticket(request=number, lane=lane, deadline_s=due_s, patient=task), now_s
                    )
                )
            case "done" if running:
                request = sorted(running)[which % len(running)]
                running.discard(request)
                note(queue.done(request, now_s))
            case "cancel" if waiting:
                request = sorted(waiting)[which % len(waiting)]
                waiting.discard(request)
                note(queue.cancel(request, now_s))
            case "forget":
                queue.forget(now_s)
                assert all(lane.limit == queue.lane_limit for lane in queue.lanes.values())
            case "limit":
                queue.lane(f"{'ab'[which % 2]}").limit = float(which)
            case _:
                note(queue.wake(now_s))
        assert queue.inflight == len(running)
        assert queue.waiting == len(waiting)
        assert sum(lane.inflight for lane in queue.lanes.values()) == len(running)
        assert sum(lane.waiting for lane in queue.lanes.values()) == len(waiting)


def test_measurements_go_and_lanes_that_nobody_uses_go_with_them() -> None:
    queue = AdmissionQueue(AdmissionSettings(limit=1, max_waiting=9, timeout_s=60.0))
    queue.lane_limit = 4.0
    queue.lane("gone").limit = 1.0
    queue.offer(Ticket(request=1, lane="kept"), 0.0)
    queue.offer(Ticket(request=2, lane="kept"), 0.0)
    kept = queue.lane("kept")
    for _ in range(MIN_SAMPLES):
        kept.prefill.learn(100, 2.0)
    for second in range(10):
        kept.drain.mark(float(second))
    kept.limit = 1.0
    assert kept.prefill.predict(100) is not None
    assert kept.drain.per_s(10.0) is not None

    queue.forget(10.0)
    assert list(queue.lanes) == ["kept"]
    assert queue.lane("kept") is kept
    assert (kept.limit, kept.inflight, kept.waiting) == (4.0, 1, 1)
    assert kept.prefill.predict(100) is None
    assert kept.drain.per_s(10.0) is None


def test_a_lane_in_which_somebody_waits_measures_its_drain_at_once() -> None:
    queue = AdmissionQueue(AdmissionSettings(limit=1, max_waiting=99, timeout_s=60.0))
    for request in range(20):
        queue.offer(Ticket(request=request, lane="m"), 0.0)
    queue.forget(0.0)
    for second in range(1, 8):
        queue.done(second - 1, float(second))
    assert queue.lane("m").drain.per_s(7.0) == pytest.approx(1.0)


def test_whoever_was_distrusted_is_trusted_again() -> None:
    queue = AdmissionQueue(AdmissionSettings(limit=1, max_waiting=9, timeout_s=60.0))
    for request in range(40):
        queue.prediction.said(request, 10.0)
        queue.prediction.waited(request, 0.1, 1.0)
    assert not queue.prediction.trusted(1.0)
    queue.forget(1.0)
    assert queue.prediction.trusted(1.0)
