"""Admitters deny sheddable calls only, and only when they have reason to."""

from collections.abc import Callable

import msgspec
import pytest

from adapters.fakellmd.admitters import NO_VALID, Candidate, deny, predict
from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.scrapes import PodMetrics
from adapters.fakellmd.settings import LlmdSettings

pytestmark = pytest.mark.req("INT-9")
Build = Callable[..., LlmdSettings]
MakeCall = Callable[..., Call]
LATENCY = EppSettings(admitters=("latency-slo-admitter",))
DICE = EppSettings(admitters=("probabilistic-admitter",))


def pod(
    running: int = 5, waiting: int = 0, kv_usage: float = 0.5, promised_s: float = 0
) -> Candidate:
    return Candidate(PodMetrics(0.0, running, waiting, kv_usage), promised_s)


def test_a_prediction_is_the_law_for_one_request_more(exact: Build) -> None:
    settings = exact()  # 0.5 s to the first token, 0.0625 s a gap, twice as slow when 5 run
    idle = predict(settings, "m", PodMetrics(0.0, 0, 0, 0.0), 4)
    assert (idle.ttft_s, idle.tpot_s) == (0.5, 0.0625)
    full = predict(settings, "m", PodMetrics(0.0, 4, 0, 0.0), 4)
    assert (full.ttft_s, full.tpot_s) == (1.0, 0.125)
    answer_s = 1.0 + 0.125 * 132  # the mean of 24 and 240 tokens
    queued = predict(settings, "m", PodMetrics(0.0, 5, 9, 0.0), 4)
    assert queued.ttft_s == pytest.approx(1.0 + 10 * answer_s / 5)


@pytest.mark.parametrize(
    ("pods", "wanted", "denied"),
    [
        ([pod()], {"ttft_slo_s": 0.9}, True),
        ([pod(waiting=3)], {"ttft_slo_s": 0.9}, True),
        ([pod(waiting=3), pod(running=1)], {"ttft_slo_s": 0.9}, False),  # one can keep it
        ([pod()], {}, False),  # no objective
        ([pod(running=0, waiting=99)], {"ttft_slo_s": 0.1}, False),  # idle
        ([pod(kv_usage=0.019)], {"ttft_slo_s": 0.1}, False),  # cold
        ([pod(running=4)], {"ttft_slo_s": 1.0}, True),  # less, not at most
        ([pod(running=4)], {"ttft_slo_s": 1.1}, False),
        ([pod(running=4)], {"tpot_slo_s": 0.125}, True),
        ([pod(running=4)], {"tpot_slo_s": 0.13}, False),
        ([pod(running=4, promised_s=0.1)], {"tpot_slo_s": 0.13}, True),  # a tighter promise there
        ([pod(running=4)], {"ttft_slo_s": 1.1, "tpot_slo_s": 0.1}, True),  # both must hold
    ],
)
def test_the_latency_admitter_denies_what_no_pod_can_promise(
    exact: Build,
    make_call: MakeCall,
    pods: list[Candidate],
    wanted: dict[str, float],
    denied: bool,
) -> None:
    settings = exact(epp=LATENCY)
    assert deny(settings, make_call(priority=-1, **wanted), pods, 0) == (
        NO_VALID if denied else None
    )
    assert deny(settings, make_call(priority=0, **wanted), pods, 0) is None


def test_without_predictions_everybody_is_let_in(exact: Build, make_call: MakeCall) -> None:
    blind = msgspec.structs.replace(LATENCY, latency_predictor=False)
    call = make_call(priority=-1, ttft_slo_s=0.1)
    assert deny(exact(epp=LATENCY), call, [pod()], 0) == NO_VALID
    assert deny(exact(epp=blind), call, [pod()], 0) is None
    assert deny(exact(), call, [pod()], 0) is None  # no admitter at all


def test_the_probabilistic_one_denies_by_the_fifth_power_of_saturation(
    exact: Build, make_call: MakeCall
) -> None:
    settings, call = exact(epp=DICE), make_call(priority=-1)
    # 0.25 ** 5 * 300 is 0.293.
    quarter = [pod(kv_usage=0.0, waiting=1), pod(kv_usage=0.24)]
    denied = [deny(settings, call, quarter, draw) for draw in range(4000)]
    assert sum(why is not None for why in denied) / 4000 == pytest.approx(0.293, abs=0.03)
    told = next(why for why in denied if why is not None)
    assert told == (
        "inference error: ResourceExhausted - probabilistic-admitter: rejected, "
        "saturation=0.250 prob=0.29"
    )
    assert deny(settings, call, [pod(kv_usage=0.0)], 1) is None
    full = [pod(waiting=5)]
    assert {deny(settings, call, full, draw) is None for draw in range(100)} == {False}
    assert {deny(settings, make_call(priority=0), full, draw) for draw in range(100)} == {None}
    assert deny(settings, call, [], 0) is None
