"""Who is refused on arrival because it cannot be served in time, and how the queue knows it is right."""

import pytest

from policies.admission import PROTECTED_MARGIN, AdmissionSettings, Admit, Effect
from policies.prediction import PROBE_EVERY
from policies.prefill import MIN_SAMPLES
from tests.support.door import Door, admitted, refusals

pytestmark = pytest.mark.req("ADM-2", "SEC-5")


def overloaded(every_s: float = 2.0, prefill_s: float = 1.0) -> tuple[Door, float]:
    """One place, passed on every so many seconds. Request 0 runs, nobody waits."""
    door = Door(max_waiting=1000)
    now_s = door.serves(every_s)
    door.knows_prefill(prefill_s)
    return door, now_s


def drain_of(door: Door, now_s: float) -> float:
    rate = door.queue.lane("m").drain.per_s(now_s)
    assert rate is not None
    return rate


def test_who_cannot_be_served_in_time_is_told_on_arrival() -> None:
    door, now_s = overloaded()
    wait_s = 1 / drain_of(door, now_s)
    for request, slack_s, told in ((1, 0.01, False), (2, -0.01, True)):
        deadline_s = now_s + wait_s + 1.0 + slack_s
        effects = door.offer(request, now_s, deadline_s=deadline_s, priority=-1, prompt_tokens=100)
        assert refusals(effects) == ([(request, "deadline")] if told else [])
        door.queue.cancel(request, now_s)


def test_who_must_not_be_shed_gets_the_benefit_of_the_doubt() -> None:
    door, now_s = overloaded()
    wait_s = 1 / drain_of(door, now_s)
    for request, slack_s, told in ((1, 0.01, False), (2, -0.01, True)):
        deadline_s = now_s + wait_s / PROTECTED_MARGIN + 1.0 + slack_s
        effects = door.offer(request, now_s, deadline_s=deadline_s, priority=0, prompt_tokens=100)
        assert refusals(effects) == ([(request, "deadline")] if told else [])
        door.queue.cancel(request, now_s)


def test_the_wait_is_for_those_who_go_before_and_for_nobody_else() -> None:
    door, now_s = overloaded()
    rate = drain_of(door, now_s)
    door.offer(1, now_s, deadline_s=now_s + 900.0)
    door.offer(2, now_s)
    door.offer(3, now_s, priority=-1)
    door.offer(4, now_s, priority=1)
    deadline_s = now_s + 2.1 / rate + 1.0
    due_first = {"deadline_s": deadline_s, "prompt_tokens": 100}
    assert refusals(door.offer(5, now_s, priority=0, **due_first)) == []
    assert refusals(door.offer(6, now_s, priority=-1, **due_first)) == [(6, "deadline")]


def test_a_full_pool_is_a_wait_even_where_the_lane_has_places() -> None:
    door, now_s = overloaded()
    assert door.queue.lane("m").has_room(0)
    effects = door.offer(1, now_s, deadline_s=now_s + 1.1, prompt_tokens=100)
    assert refusals(effects) == [(1, "deadline")]


def hopeless(door: Door, request: int, now_s: float, **more: float) -> list[Effect]:
    """Somebody whose deadline is as good as now."""
    return door.offer(request, now_s, deadline_s=now_s + 0.01, prompt_tokens=100, **more)  # type: ignore[arg-type]  # by name


def test_without_a_measured_drain_everybody_is_let_in() -> None:
    door = Door()
    door.knows_prefill(1.0)
    door.offer(0)
    assert hopeless(door, 1, 0.0) == []


def test_a_drain_of_long_ago_is_not_measured() -> None:
    door, now_s = overloaded()
    assert refusals(hopeless(door, 1, now_s)) == [(1, "deadline")]
    assert hopeless(door, 2, now_s + 60.0) == []


def test_calm_hours_are_no_slow_drain() -> None:
    """One request a minute is what was asked for, not what can be done."""
    door = Door()
    for minute in range(60):
        door.offer(minute, minute * 60.0)
        door.done(minute, minute * 60.0 + 0.5)
    door.knows_prefill(0.1)
    door.offer(100, 3600.0)
    effects = door.offer(101, 3600.0, deadline_s=3602.0, prompt_tokens=100)
    assert effects == []
    assert door.done(100, 3600.5) == [101]


def test_with_too_few_samples_of_prefill_everybody_is_let_in() -> None:
    door = Door()
    now_s = door.serves(every_s=2.0)
    door.knows_prefill(1.0, samples=MIN_SAMPLES - 1)
    assert hopeless(door, 1, now_s) == []
    door.knows_prefill(1.0, samples=1)
    assert refusals(hopeless(door, 2, now_s)) == [(2, "deadline")]


def test_nobody_is_told_where_the_lane_is_idle() -> None:
    door, now_s = overloaded()
    door.queue.done(0, now_s)
    door.offer(1, now_s, lane="other")
    assert hopeless(door, 2, now_s) == [], "the pool is full, and yet nothing runs in its lane"


def test_who_has_no_deadline_is_never_late() -> None:
    door, now_s = overloaded()
    for request in range(1, 100):
        assert door.offer(request, now_s) == []


def test_what_first_tokens_took_is_learned_from_those_who_run() -> None:
    door = Door(limit=100)
    lane = door.queue.lane("m")
    for request in range(MIN_SAMPLES):
        door.queue.first_token(request, 9.0, 0.0)
        assert lane.prefill.samples == request, "nobody of that number runs"
        door.offer(request, prompt_tokens=100)
        door.queue.first_token(request, 0.5, 0.5)
    assert lane.prefill.predict(100) == pytest.approx(0.5)
    assert door.queue.lane("other").prefill.samples == 0


# -- probes and trust -------------------------------------------------------------------


def refused_until_a_probe(door: Door, now_s: float, first: int = 1) -> int:
    """Offers who would be refused until one is let in. Returns its number."""
    for request in range(first, first + 2 * PROBE_EVERY):
        if not refusals(hopeless(door, request, now_s)):
            return request
    raise AssertionError("nobody was let in")


def test_one_in_a_hundred_who_would_be_told_is_let_in_as_a_probe() -> None:
    door, now_s = overloaded()
    first = refused_until_a_probe(door, now_s)
    assert first == PROBE_EVERY
    assert refused_until_a_probe(door, now_s, first + 1) == 2 * PROBE_EVERY


def test_a_probe_waits_past_its_deadline_and_is_admitted() -> None:
    door, now_s = overloaded()
    door.queue.configure(AdmissionSettings(limit=2, max_waiting=1000, timeout_s=1000), now_s)
    door.offer(9000, now_s)
    probe = refused_until_a_probe(door, now_s)
    assert door.queue.wake(now_s + 5.0) == []
    assert door.queue.done(0, now_s + 5.0) == [Admit(probe, 5.0)]


def test_probes_that_are_in_time_stop_the_refusals_for_a_while() -> None:
    door, now_s = overloaded()
    door.queue.lane("m").limit = 1.0
    request = 0
    for _ in range(10):
        request = refused_until_a_probe(door, now_s, request + 1)
        door.queue.configure(AdmissionSettings(limit=2, max_waiting=1000, timeout_s=1000), now_s)
        door.queue.lane("m").limit = 2.0
        assert door.queue.inflight == 1
        assert admitted(door.queue.wake(now_s)) == [request]
        door.queue.first_token(request, 0.0, now_s)
        door.queue.done(request, now_s)
        door.queue.configure(door.settings, now_s)
        door.queue.lane("m").limit = 1.0
    assert hopeless(door, request + 1, now_s) == []
    door.queue.cancel(request + 1, now_s)
    assert refusals(hopeless(door, request + 2, now_s + 30.0)) == [(request + 2, "deadline")]


def test_a_probe_that_ended_without_an_answer_is_forgotten() -> None:
    door, now_s = overloaded()
    probe = refused_until_a_probe(door, now_s)
    assert door.done(0, now_s + 1.0) == [probe]
    assert door.queue.prediction.is_probe(probe)
    door.done(probe, now_s + 1.0)
    assert not door.queue.prediction.is_probe(probe)


def test_a_probe_that_a_full_queue_refuses_is_none() -> None:
    door, now_s = overloaded()
    settings = AdmissionSettings(limit=1, max_waiting=0, timeout_s=1000)
    door.queue.configure(settings, now_s)
    reasons = [refusals(hopeless(door, request, now_s))[0][1] for request in range(1, 101)]
    assert reasons == ["deadline"] * 99 + ["queue_full"]
    assert not door.queue.prediction.is_probe(100)


def test_waits_that_come_otherwise_than_said_stop_the_refusals_for_a_while() -> None:
    door, now_s = overloaded()
    door.offer(1, now_s)
    running = 0
    for request in range(1, 40):
        # Said: another service of two seconds. It comes after a hundredth.
        door.offer(request + 1, now_s)
        now_s += 0.01
        door.done(running, now_s)
        running = request
    assert not door.queue.prediction.trusted(now_s)
    assert hopeless(door, 1000, now_s) == []


def test_who_is_let_in_without_trust_does_not_prolong_the_distrust() -> None:
    """The queue is then full of those who will be dropped at its head, and waits are shorter than said."""
    door, now_s = overloaded()
    door.queue.prediction._distrust(now_s)
    for number in range(1, 200):
        door.offer(number, now_s)
    for number in range(199):
        door.done(number, now_s + 0.05 * number)
    assert door.queue.prediction.mean_error is None
    assert door.queue.prediction.trusted(now_s + 30.0)
