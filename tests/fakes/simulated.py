"""A small world to simulate: configuration and policies as files, and plans made from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.configuration import load
from gateway.policy_files import load_policies
from gateway.simulation.plan import Plan, make_plan
from gateway.simulation.trace import Arrival

ENGINE = (
    "{max_num_seqs: 8, inter_token_latency: 20ms, time_factor_under_load: 3, "
    "prefill_overhead: 10ms, prefill_time_per_token: 100us}"
)
"""Alone, 100 prompt tokens and 11 answered ones take 20 ms and 200 ms."""
QUICK_ENGINE = ENGINE.replace("20ms", "5ms").replace("10ms", "2ms").replace("100us", "25us")
ONE_MODEL = f"""\
pools: [{{id: sim, engine: llmd, simulate: {ENGINE}}}]
models: [{{name: big, pool: sim, quality: 0.9, price: {{input: 1, output: 2}}}}]
policies: policies.yaml
"""
TWO_MODELS = f"""\
pools:
  - {{id: sim, engine: llmd, simulate: {ENGINE}}}
  - {{id: far, engine: llmd, simulate: {QUICK_ENGINE}}}
models:
  - {{name: big, pool: sim, quality: 0.9, price: {{input: 1, output: 2}}}}
  - {{name: small, pool: far, quality: 0.7, price: {{input: 0.1, output: 0.2}}}}
policies: policies.yaml
"""
PROMISE = """\
intents:
  - name: chat
    match: {default: true}
    objectives: {ttft_p95: 500ms, tpot_p95: 50ms}
"""


def files(folder: Path, config: str = ONE_MODEL, policies: str = PROMISE) -> Path:
    """Write both; the configuration's path."""
    path = folder / "setpoint.yaml"
    path.write_text(config)
    (folder / "policies.yaml").write_text(policies)
    return path


def plan_of(
    folder: Path,
    arrivals: Sequence[Arrival],
    *,
    config: str = ONE_MODEL,
    policies: str = PROMISE,
    **more: Any,
) -> Plan:
    """A plan as `setpoint simulate` would make it."""
    loaded = load(files(folder, config, policies), env={})
    policy = load_policies(loaded.policies_path, loaded.catalog, {})
    return make_plan(loaded, policy, arrivals, **more)


def requests(*times_s: float, prompt: int = 100, output: int = 11, **more: str) -> list[Arrival]:
    """Equal requests at these times."""
    return [Arrival(at_s, prompt, output, **more) for at_s in times_s]
