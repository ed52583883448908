"""What the demo deploys: two llm-d clusters with a model each, and a gateway with one policy.

Only text and command lines are made here; nothing is started. Must stay true: between the loop off and the
loop on the policy differs in one line, and everything else in nothing.
"""

from collections.abc import Mapping

import msgspec

from gateway.demo.scenario import INTENT, Promise


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """One model: what its simulated llm-d is like, and what the gateway is told of it. Latencies are as
    `setpoint llmd` takes them; prices are USD for a million tokens."""

    name: str
    upstream: str
    pool: str
    quality: float
    input_price: float
    output_price: float
    inter_token_latency: str
    prefill_overhead: str
    prefill_time_per_token: str
    time_factor_under_load: float
    max_num_seqs: int

    def command(self, seed: int) -> list[str]:
        """The arguments of `setpoint`, on a free port."""
        flags = {
            "port": 0,
            "model": self.upstream,
            "max-num-seqs": self.max_num_seqs,
            "inter-token-latency": self.inter_token_latency,
            "prefill-overhead": self.prefill_overhead,
            "prefill-time-per-token": self.prefill_time_per_token,
            "time-factor-under-load": self.time_factor_under_load,
            "seed": seed,
        }
        return ["llmd", *(f"--{name}={value}" for name, value in flags.items())]

    def usd(self, prompt_tokens: float, output_tokens: float) -> float:
        return (prompt_tokens * self.input_price + output_tokens * self.output_price) / 1e6

    @property
    def told(self) -> str:
        """In words, for the report."""
        return (
            f"{self.upstream}: {self.inter_token_latency} a token alone, "
            f"{self.time_factor_under_load:g} times that with {self.max_num_seqs} at once; "
            f"quality {self.quality:g}; {self.input_price:g} / {self.output_price:g} USD "
            f"for a million tokens in / out"
        )


BIG = Engine(
    name="assistant",
    upstream="Llama-3.3-70B",
    pool="big",
    quality=0.9,
    input_price=6.0,
    output_price=18.0,
    inter_token_latency="24ms",
    prefill_overhead="80ms",
    prefill_time_per_token="300us",
    time_factor_under_load=2.0,
    max_num_seqs=28,
)
SMALL = Engine(
    name="assistant-small",
    upstream="Llama-3.1-8B",
    pool="small",
    quality=0.7,
    input_price=0.6,
    output_price=1.8,
    inter_token_latency="10ms",
    prefill_overhead="40ms",
    prefill_time_per_token="100us",
    time_factor_under_load=2.0,
    max_num_seqs=64,
)
ENGINES = (BIG, SMALL)

_POLICY = """\
intents:
  - name: {intent}                   # somebody is waiting for the answer
    match: {{default: true}}
    objectives: {{{objectives}}}
    priority: 10
    quality_floor: 0.6                  # never served by a model that is rated below this
    window: {window_s:g}s
    ladder:                             # least harm first
      - order
      - hold_back
      - {{switch_model: {small}}}
      - {{cap_tokens: 256}}
      - {{reduce_batching: 0.7}}
      - shed
      - refuse
"""
_DRY_RUN = "dry_run: true                           # decide and log, do not act\n\n"


def objectives(promise: Promise) -> str:
    """As an operator writes them."""
    return (
        f"ttft_p95: {promise.ttft_p95_s * 1000:g}ms, tpot_p95: {promise.tpot_p95_s * 1000:g}ms, "
        f"error_rate: {promise.error_share * 100:g}%, "
        f"cost_per_minute: {promise.usd_per_minute:.2f} USD"
    )


def policy(promise: Promise, *, act: bool) -> str:
    """The policy file. Without `act` it decides and logs, and does not act."""
    text = _POLICY.format(
        intent=INTENT,
        objectives=objectives(promise),
        window_s=promise.window_s,
        small=SMALL.name,
    )
    return text if act else _DRY_RUN + text


def configuration(urls: Mapping[str, str], policy_file: str) -> str:
    """`setpoint.yaml`. `urls` by pool."""
    pools = [
        f"  - {{id: {engine.pool}, engine: llmd, endpoints: [{urls[engine.pool]}]}}"
        for engine in ENGINES
    ]
    models = [
        f"  - {{name: {engine.name}, pool: {engine.pool}, upstream: {engine.upstream}, "
        f"quality: {engine.quality}, "
        f"price: {{input: {engine.input_price}, output: {engine.output_price}}}}}"
        for engine in ENGINES
    ]
    lines = (
        "bind_addr: 127.0.0.1:0",
        "pools:",
        *pools,
        "models:",
        *models,
        f"policies: {policy_file}",
        "logging: {format: json}",
        "drain_timeout: 1s",
    )
    return "\n".join(lines) + "\n"


def usd(model: str, prompt_tokens: float, output_tokens: float) -> float:
    """What tokens cost at a model's price. 0 for a model that is not deployed."""
    for engine in ENGINES:
        if engine.name == model:
            return engine.usd(prompt_tokens, output_tokens)
    return 0.0
