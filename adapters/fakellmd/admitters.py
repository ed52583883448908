"""llm-d's admitter plugins: they say no to sheddable requests that would not be served well. Pure.

Only priorities below 0 are ever denied. The latency predictor of the fake is the engines' own law,
asked with what the last scrape showed; it knows nothing of drift, as a predictor that has not been
trained on it. Source: llm-d-router `requestcontrol/admitter/{latencyslo,probabilisticadmitter}`.
"""

from collections.abc import Sequence

import msgspec

from adapters.fakellmd import law, saturation
from adapters.fakellmd.draws import uniform
from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.scrapes import PodMetrics
from adapters.fakellmd.settings import LlmdSettings

COLD_KV_USAGE = 0.02
NO_VALID = "no valid endpoint available to serve the request"


class Candidate(msgspec.Struct, frozen=True):
    """A pod that may be chosen, and the tightest TPOT promised on it already (0: none)."""

    metrics: PodMetrics
    tightest_tpot_s: float


class Prediction(msgspec.Struct, frozen=True):
    ttft_s: float
    tpot_s: float


def predict(settings: LlmdSettings, model: str, pod: PodMetrics, prompt_tokens: int) -> Prediction:
    """How a further request would fare on `pod`: its turn in the queue, its prefill, its gaps."""
    latency, slots = settings.latency_of(model), settings.max_num_seqs
    running = min(pod.running + 1, slots)
    gap_s = law.gap_s(latency, running, slots)
    load = law.load_factor(running, slots, latency.time_factor_under_load)
    prefill_s = law.idle_first_token_s(latency, prompt_tokens, 0) * load
    ahead = pod.waiting + 1 if pod.running >= slots else 0
    answer_s = prefill_s + gap_s * sum(settings.natural_output_tokens) / 2
    return Prediction(prefill_s + ahead * answer_s / slots, gap_s)


def deny(settings: LlmdSettings, call: Call, pods: Sequence[Candidate], draw: int) -> str | None:
    """Why `call` is not admitted; None if it is. `draw` keys the probabilistic one's dice."""
    epp = settings.epp
    if call.priority >= 0:
        return None
    for admitter in epp.admitters:
        if admitter == "latency-slo-admitter":
            denied = _too_slow(settings, call, pods)
        else:
            denied = _unlucky(epp, pods, draw)
        if denied is not None:
            return denied
    return None


def _too_slow(settings: LlmdSettings, call: Call, pods: Sequence[Candidate]) -> str | None:
    """Denied only if no pod can keep the promise, none is idle and none is cold."""
    wants = call.wants
    if not settings.epp.latency_predictor or not (wants.ttft_slo_s or wants.tpot_slo_s):
        return None
    for pod in pods:
        metrics = pod.metrics
        if metrics.running == 0 or metrics.kv_usage < COLD_KV_USAGE:
            return None
        prediction = predict(settings, call.target, metrics, call.prompt_tokens)
        if _is_kept(prediction, call, pod.tightest_tpot_s, settings.epp):
            return None
    return NO_VALID


def _is_kept(
    prediction: Prediction, call: Call, tightest_tpot_s: float, settings: EppSettings
) -> bool:
    """Whether both objectives would be met; the pod's TPOT is bound by the tightest one on it."""
    wants = call.wants
    if wants.ttft_slo_s and prediction.ttft_s >= wants.ttft_slo_s:
        return False
    bound_s = min((slo_s for slo_s in (wants.tpot_slo_s, tightest_tpot_s) if slo_s), default=0.0)
    return not wants.tpot_slo_s or prediction.tpot_s < bound_s * settings.slo_buffer_factor


def _unlucky(settings: EppSettings, pods: Sequence[Candidate], draw: int) -> str | None:
    """Denied with probability min(saturation ** 5 * 300, 1), whatever the metrics' age."""
    if not pods:
        return None
    scores = [saturation.score(pod.metrics, settings.saturation) for pod in pods]
    full = sum(scores) / len(scores)
    chance = min(full**settings.probabilistic_power * settings.probabilistic_k, 1.0)
    if uniform(draw) >= chance:
        return None
    return (
        "inference error: ResourceExhausted - probabilistic-admitter: rejected, "
        f"saturation={full:.3f} prob={chance:.2f}"
    )
