"""Vegas: up on an empty queue, down on a long one, and a probe now and then."""

import pytest

from gateway.simulation.rivals.vegas import Vegas

pytestmark = pytest.mark.req("INT-12")


def fed(*rtts_s: float, inflight: int = 1000, ok: bool = True) -> Vegas:
    """A limiter of 20 that saw 1 s first, then these."""
    rival = Vegas()
    rival.finished(0.0, 1.0, inflight, True)
    for rtt_s in rtts_s:
        rival.finished(0.0, rtt_s, inflight, ok)
    return rival


@pytest.mark.parametrize(
    ("rtt_s", "limit"),
    [
        (1.0, 26.0),  # queue 0, not above log10: by beta
        (1.05, 26.0),  # queue ceil(0.95) = 1
        (1.1, 21.0),  # queue ceil(1.8) = 2, below alpha = 3: by log10
        (1.15, 20.0),  # queue ceil(2.6) = 3: neither
        (1.4, 20.0),  # queue ceil(5.7) = 6, not above beta
        (1.5, 19.0),  # queue ceil(6.7) = 7: down by log10
        (9.0, 19.0),  # however long
    ],
)
def test_the_limit_follows_the_estimated_queue(rtt_s: float, limit: float) -> None:
    assert fed(rtt_s).limit == limit


def test_a_shorter_rtt_becomes_the_baseline_and_moves_nothing() -> None:
    assert fed(0.5).limit == 20.0
    assert fed(0.5, 1.0).limit == 19.0


def test_a_failure_lowers_the_limit_even_at_rest() -> None:
    assert fed(1.0, ok=False, inflight=1).limit == 19.0


def test_a_limit_that_is_not_used_does_not_move() -> None:
    assert fed(1.0, inflight=9).limit == 20.0
    assert fed(1.0, inflight=10).limit == 26.0


def test_steps_grow_with_the_limit() -> None:
    rival = fed(*[1.0] * 14)
    assert rival.limit == 104.0
    rival.finished(0.0, 1.0, 1000, True)
    assert rival.limit == 116.0


def test_the_limit_stays_between_1_and_1000() -> None:
    assert fed(*[9.0] * 60, ok=False).limit == 1.0
    assert fed(*[1.0] * 200).limit == 1000.0


def test_a_long_rtt_lowers_the_limit_no_further_than_beta() -> None:
    # Of 6 in flight no more than 6 can be queued.
    assert fed(*[9.0] * 60).limit == 6.0


def test_a_probe_takes_an_overloaded_rtt_for_the_baseline() -> None:
    rival = fed(*[3.0] * 60)
    assert rival.limit < 20.0
    for _ in range(600):
        rival.finished(0.0, 3.0, 1000, True)
    assert rival.limit > 100.0


def test_probes_come_after_15_to_30_times_the_limit() -> None:
    for seed in range(20):
        rival = Vegas(seed)
        rival.finished(0.0, 1.0, 1, True)
        # Nearly idle, so the limit stays 20 and only a probe changes what comes next.
        count = 1
        while rival._noload_s == 1.0:
            rival.finished(0.0, 3.0, 1, True)
            count += 1
        assert 15 * 20 <= count <= 30 * 20
