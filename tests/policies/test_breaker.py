"""Endpoints that fail are left alone for a while, and found again soon."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import (
    ConnectFailed,
    GatewayError,
    InvalidField,
    QueueFull,
    StreamBroken,
    UpstreamFault,
    UpstreamTimeout,
)
from policies.breaker import COOLDOWN_MAX_S, PROBE_PATIENCE_S, Breaker, BreakerSettings, breaks

pytestmark = pytest.mark.req("RUN-5", "RUN-7")
SETTINGS = BreakerSettings(failures=3, window_s=10, cooldown_s=4)


def opened(now_s: float = 0) -> Breaker:
    breaker = Breaker(SETTINGS)
    assert [breaker.failed(now_s) for _ in range(3)] == [False, False, True]
    return breaker


def test_a_few_failures_in_a_short_time_open_it() -> None:
    breaker = opened()
    assert (breaker.state(3), breaker.allows(3)) == ("open", False)
    assert (breaker.state(4), breaker.allows(4)) == ("half_open", True)


def test_failures_far_apart_do_not() -> None:
    breaker = Breaker(SETTINGS)
    assert not any(breaker.failed(at_s) for at_s in range(0, 200, 6))
    assert breaker.allows(200)


def test_failures_between_successes_count_all_the_same() -> None:
    breaker = Breaker(SETTINGS)
    for at_s in (0, 1):
        breaker.failed(at_s)
        breaker.succeeded()
    assert breaker.failed(2), "an engine that drops half its streams is failing"


def test_half_open_lets_one_through_at_a_time() -> None:
    breaker = opened()
    assert breaker.sent(5), "it is the probe"
    assert not breaker.allows(6)
    assert not breaker.sent(6), "nobody else is, whoever goes there for want of anything better"
    breaker.abandoned(probe=True)
    assert breaker.allows(6)
    assert breaker.sent(6)
    assert breaker.allows(6 + PROBE_PATIENCE_S), "a probe that is never heard of blocks nobody"


def test_what_becomes_of_another_request_does_not_end_the_probe() -> None:
    breaker = opened()
    assert breaker.sent(5)
    breaker.abandoned(probe=False)
    assert not breaker.allows(6)
    assert breaker.failed(6), "it fails still"
    assert breaker.state(14) == "half_open"
    assert not breaker.allows(14), "the probe is under way yet"


def test_as_many_overtaken_in_a_row_as_failures_are_an_engine_that_hangs() -> None:
    breaker = Breaker(SETTINGS)
    assert [breaker.overtaken(at_s) for at_s in (0, 100, 200)] == [False, False, True]
    assert breaker.sent(204)
    assert breaker.overtaken(205, probe=True), "so does the probe"
    assert not breaker.allows(208)
    breaker.succeeded()
    assert not breaker.overtaken(209)


def test_an_answer_between_them_is_an_engine_that_is_slow_now_and_then() -> None:
    breaker = Breaker(SETTINGS)
    for at_s in range(50):
        assert not breaker.overtaken(at_s)
        assert not breaker.overtaken(at_s)
        breaker.succeeded()


def test_a_successful_probe_closes_it_and_it_begins_anew() -> None:
    breaker = opened()
    breaker.sent(5)
    breaker.succeeded()
    assert breaker.state(5) == "closed"
    assert [breaker.failed(6), breaker.failed(6)] == [False, False]
    assert breaker.failed(6)
    assert breaker.state(9.9) == "open", "the first cooldown again"


def test_each_failed_probe_doubles_the_pause_up_to_a_bound() -> None:
    breaker, now_s, pauses = opened(), 0.0, []
    for _ in range(6):
        pause = next(p for p in range(1, 100) if breaker.allows(now_s + p))
        pauses.append(pause)
        now_s += pause
        breaker.sent(now_s)
        assert breaker.failed(now_s, probe=True)
    assert pauses == [4, 8, 16, COOLDOWN_MAX_S, COOLDOWN_MAX_S, COOLDOWN_MAX_S]


def test_a_longer_pause_than_the_bound_is_its_own_bound() -> None:
    breaker = Breaker(BreakerSettings(failures=1, window_s=10, cooldown_s=COOLDOWN_MAX_S + 5))
    breaker.failed(0)
    probe_s = COOLDOWN_MAX_S + 5
    breaker.sent(probe_s)
    breaker.failed(probe_s, probe=True)
    assert not breaker.allows(probe_s + COOLDOWN_MAX_S + 4)
    assert breaker.allows(probe_s + COOLDOWN_MAX_S + 5)


def test_what_was_sent_before_it_opened_is_no_news() -> None:
    breaker = opened()
    assert not breaker.failed(1)
    assert breaker.allows(4)


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 6),
            st.sampled_from(["failed", "succeeded", "sent", "abandoned", "overtaken"]),
            st.booleans(),
        )
    )
)
def test_it_always_lets_somebody_through_again(steps: list[tuple[int, str, bool]]) -> None:
    breaker, now_s = Breaker(SETTINGS), 0
    for wait_s, step, probe in steps:
        now_s += wait_s
        match step:
            case "failed":
                breaker.failed(now_s, probe=probe)
            case "overtaken":
                breaker.overtaken(now_s, probe=probe)
            case "sent":
                breaker.sent(now_s)
            case "abandoned":
                breaker.abandoned(probe=probe)
            case _:
                breaker.succeeded()
    assert breaker.allows(now_s + COOLDOWN_MAX_S + PROBE_PATIENCE_S)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectFailed("x"), True),
        (StreamBroken("x", fault="stream_broken"), True),
        (UpstreamTimeout("x", fault="timeout"), True),
        (UpstreamFault("x", fault="unavailable"), True),
        (UpstreamFault("x", fault="upstream_bug"), True),
        (UpstreamFault("x", fault="client"), False),
        (UpstreamFault("x", fault="content"), False),
        (UpstreamFault("x", fault="rate_limit"), False),
        (UpstreamFault("x", fault="slo_shed"), False),
        (UpstreamFault("x", fault="overload", upstream_status=503), True),
        (UpstreamFault("x", fault="overload", upstream_status=429), False),
        (UpstreamFault("x", fault="timeout", upstream_status=408), False),
        (QueueFull("x"), False),
        (InvalidField("x"), False),
    ],
)
def test_only_the_engines_own_failures_count(error: GatewayError, counts: bool) -> None:
    assert breaks(error) is counts
