"""Setpoint as a careful operator runs it: everything on that does not need a second server.

Callers with tokens and budgets, prices, CEL rules, admission, intents with objectives on every signal, the
decision log, a JSON log line for each request, metrics, and records in SQLite. The objectives are so wide that the
loop watches and never acts: an action would change the work that is measured.
"""

import sys

from tests.bench.peers.peer import Launch, Peer, Site
from tests.bench.plan import caller_token
from tests.bench.upstream import MODELS

CONFIG = """\
bind_addr: 127.0.0.1:{port}
auth:
  token: bench-operator
  default_budget: [{{requests: 1000000000, per: 1m}}, {{tokens: 1000000000000, per: 1m}}, {{cost: 1000000 USD, per: day}}]
  keys:
{keys}
pools:
  - id: bench
    engine: openai
    endpoint: "{upstream}"
    api_key: bench-backend
    max_inflight: 4096
    queue: {{max_requests: 4096}}
models:
{models}
routes:
{routes}
policies: policies.yaml
limits: {{connections: 16384}}
records: "sqlite:///records.db"
logging: {{level: info, format: json, decisions: decisions.jsonl}}
"""
POLICIES = """\
intents:
  - name: interactive
    match: {default: true}
    objectives: {ttft_p95: 10m, tpot_p95: 1m, e2e_p95: 1h, error_rate: 50%, cost_per_minute: 1000000 USD}
    priority: 10
    quality_floor: 0.6
    late: serve
    window: 30s
    ladder: [order, hold_back, {switch_model: small}, {cap_tokens: 256}, {reduce_batching: 0.7}, shed, refuse]
  - name: batch
    match: {header: {x-setpoint-intent: batch}}
    objectives: {ttft_p95: 10m, error_rate: 50%}
    priority: -10
    late: serve
    ladder: [order, hold_back, shed, refuse]
"""
RULE = """\
  - name: rule {number}
    when: request.headers["x-team"] == "team-{number}" && request.prompt_tokens > 100
    then: {{max_tokens: 64}}
"""
RULES, CALLERS = 3, 10
"""So many there are unless the measurement is about them."""


def config(site: Site, callers: int) -> str:
    """The text of setpoint.yaml."""
    keys = [f"    - {{name: caller-{n}, token: {caller_token(n)}}}" for n in range(callers)]
    models = [
        f"  - {{name: {name}, pool: bench, quality: 0.9, context: 131072, price: {{input: 0.6, output: 0.8}}}}"
        for name in MODELS
    ]
    small = "  - {name: small, pool: bench, upstream: instant, quality: 0.7, price: {input: 0.3, output: 0.4}}"
    return CONFIG.format(
        port=site.port,
        upstream=site.upstream,
        keys="\n".join(keys),
        models="\n".join([*models, small]),
        routes="\n".join(f"  {name}: [{name}, small]" for name in MODELS),
    )


def policies(rules: int) -> str:
    """The text of policies.yaml, with so many rules that match no request of the bench."""
    if not rules:
        return POLICIES
    return POLICIES + "rules:\n" + "".join(RULE.format(number=number) for number in range(rules))


def setpoint(
    name: str = "Setpoint",
    *,
    rules: int = RULES,
    callers: int = CALLERS,
    options: tuple[str, ...] = (),
) -> Peer:
    """Setpoint with so many rules and callers, started with further `options` of `serve`."""

    def launch(site: Site) -> Launch:
        path = site.folder / "setpoint.yaml"
        path.write_text(config(site, callers), encoding="utf-8")
        (site.folder / "policies.yaml").write_text(policies(rules), encoding="utf-8")
        serve = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(path), *options]
        return Launch(command=serve)

    return Peer(name=name, launch=launch)


SETPOINT = setpoint()
