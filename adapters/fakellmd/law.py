"""The latency law of llm-d-inference-sim, and the optimum that follows from it.

With n sequences running, N = max_num_seqs and F = time_factor_under_load:

    factor(n)  = 1 + (F - 1) * (n - 1) / (N - 1)            1 where N = 1
    first token, constant:   time_to_first_token * factor(n)
    first token, per-token:  (prefill_overhead + uncached prompt tokens * prefill_time_per_token) * factor(n)
    gap between tokens:      inter_token_latency * factor(n at that token)

Each is multiplied by a jitter factor, normal around 1 and clamped to [0.3, 1.7]. Two deviations
from the Go program, on purpose: standard deviations are those of an idle engine and grow with the
mean, and times are not rounded to whole milliseconds.
Source: llm-d-inference-sim `pkg/llm-d-inference-sim/latencies.go` @ eec055a3.
"""

from adapters.fakellmd.settings import Latency, LlmdSettings


def load_factor(running: int, max_num_seqs: int, time_factor_under_load: float) -> float:
    """How many times slower an engine with `running` sequences is than an idle one."""
    if max_num_seqs <= 1:
        return 1.0
    return 1.0 + (time_factor_under_load - 1.0) * (running - 1) / (max_num_seqs - 1)


def idle_first_token_s(latency: Latency, prompt_tokens: int, cached_tokens: int) -> float:
    """Prefill alone on an idle engine, without jitter."""
    if latency.latency_calculator == "constant":
        return latency.time_to_first_token_s
    uncached = max(prompt_tokens - cached_tokens, 0)
    return latency.prefill_overhead_s + uncached * latency.prefill_time_per_token_s


def first_token_std_dev(latency: Latency, idle_s: float) -> float:
    """The first token's standard deviation relative to its mean `idle_s`."""
    constant = latency.latency_calculator == "constant"
    std_dev_s = (
        latency.time_to_first_token_std_dev_s if constant else latency.prefill_time_std_dev_s
    )
    return std_dev_s / idle_s if idle_s else 0.0


def gap_std_dev(latency: Latency) -> float:
    """A gap's standard deviation relative to its mean."""
    return latency.inter_token_latency_std_dev_s / latency.inter_token_latency_s


def gap_s(latency: Latency, running: int, max_num_seqs: int) -> float:
    """The mean time between two tokens of one sequence while `running` sequences share the engine."""
    factor = load_factor(running, max_num_seqs, latency.time_factor_under_load)
    return latency.inter_token_latency_s * factor


def optimal_concurrency(
    settings: LlmdSettings, tpot_slo_s: float, model: str | None = None
) -> float:
    """The most sequences one engine of `model` (default: the first) can run with its gaps at the SLO.

    n* = 1 + (N - 1) * (tpot_slo / inter_token_latency - 1) / (F - 1), at most N; 0 where not even
    one sequence meets the SLO. A limiter in front of R replicas should settle at R * n*. Drift is
    not considered.
    """
    latency = settings.latency_of(model or settings.models[0].name)
    headroom = tpot_slo_s / latency.inter_token_latency_s - 1.0
    if headroom < 0.0:
        return 0.0
    slope = latency.time_factor_under_load - 1.0
    if slope == 0.0 or settings.max_num_seqs == 1:
        return float(settings.max_num_seqs)
    optimum = 1.0 + (settings.max_num_seqs - 1) * headroom / slope
    return min(optimum, float(settings.max_num_seqs))
