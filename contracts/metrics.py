"""The metrics contract: every metric the gateway exposes, its labels and its meaning.

`gateway.metrics` makes them from this table and nothing else; a lint checks names, units and labels.
"""

from typing import Literal

import msgspec

LATENCY_BUCKETS_S = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0,
)  # fmt: skip
TPOT_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.2,
    0.5,
    1.0,
    5.0,
)
ENGINE = ("engine", "engine_version")


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric family. Counters end in `_total`, times in `_seconds`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_BUCKETS_S


METRICS: tuple[Metric, ...] = (
    Metric(
        name="setpoint_requests_total",
        kind="counter",
        help="Inference requests; status is the HTTP status, 499 when the client left. Before a decision, "
        "model and intent are none.",
        labels=("operation", "model", "intent", "status", *ENGINE),
    ),
    Metric(
        name="setpoint_request_duration_seconds",
        kind="histogram",
        help="Accepted to last byte.",
        labels=("operation", "model", "intent", *ENGINE),
    ),
    Metric(
        name="setpoint_ttft_seconds",
        kind="histogram",
        help="Accepted to first content sent on, queueing included.",
        labels=("model", "intent", *ENGINE),
    ),
    Metric(
        name="setpoint_upstream_ttft_seconds",
        kind="histogram",
        help="Dispatch to first content.",
        labels=("model", "pool", *ENGINE),
    ),
    Metric(
        name="setpoint_tpot_seconds",
        kind="histogram",
        help="(e2e - TTFT) / (output tokens - 1), a request.",
        labels=("model", "intent", *ENGINE),
        buckets=TPOT_BUCKETS_S,
    ),
    Metric(
        name="setpoint_queue_seconds",
        kind="histogram",
        help="Time in the gateway's own queue.",
        labels=("pool",),
    ),
    Metric(
        name="setpoint_tokens_total",
        kind="counter",
        help="Tokens by direction: prompt, completion, cached (of the prompt's), reasoning (of the completion's).",
        labels=("model", "direction", *ENGINE),
    ),
    Metric(
        name="setpoint_attempts_total",
        kind="counter",
        help="Attempts at a backend; outcome is ok, the fault's code, or other for an engine's own code.",
        labels=("pool", "outcome", *ENGINE),
    ),
    Metric(
        name="setpoint_client_disconnects_total",
        kind="counter",
        help="Clients that left before their answer was complete.",
        labels=("operation",),
    ),
    Metric(
        name="setpoint_rules_total",
        kind="counter",
        help="Rules that had a say, by verdict.",
        labels=("rule", "verdict"),
    ),
    Metric(
        name="setpoint_budget_refusals_total",
        kind="counter",
        help="Requests refused for a limit of their caller's budget; key is other for callers that only a "
        "proxy names.",
        labels=("key", "budget"),
    ),
    Metric(
        name="setpoint_budget_used_ratio",
        kind="gauge",
        help="How much of a limit its caller has used or holds: 1 is all of it, more is a debt.",
        labels=("key", "budget"),
    ),
    Metric(
        name="setpoint_policy_reloads_total",
        kind="counter",
        help="Reloads of the policies, by outcome: ok or refused.",
        labels=("outcome",),
    ),
    Metric(
        name="setpoint_policy_info",
        kind="gauge",
        help="1 for the policy version in force.",
        labels=("version",),
    ),
    Metric(
        name="setpoint_pool_inflight_requests",
        kind="gauge",
        help="Requests that the pool works on.",
        labels=("pool", "engine"),
    ),
    Metric(
        name="setpoint_pool_queued_requests",
        kind="gauge",
        help="Requests that wait in the gateway's queue, tasks included.",
        labels=("pool", "engine"),
    ),
    Metric(
        name="setpoint_pool_queued_tasks",
        kind="gauge",
        help="Tasks that wait in the gateway's queue.",
        labels=("pool", "engine"),
    ),
    Metric(
        name="setpoint_pool_limit_requests",
        kind="gauge",
        help="Requests that the pool is given at once.",
        labels=("pool", "engine"),
    ),
    Metric(
        name="setpoint_endpoint_ready",
        kind="gauge",
        help="1 if the endpoint's own health check says it is ready.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_endpoint_self_test",
        kind="gauge",
        help="1 if the endpoint passed its self-test, 0 if it failed; absent while there is no verdict.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_endpoint_backend_waiting_requests",
        kind="gauge",
        help="Requests in the backend's own queue, as it says; absent while that is not known.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_endpoint_backend_running_requests",
        kind="gauge",
        help="Requests that the backend works on, as it says; absent while that is not known.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_endpoint_kv_cache_usage_ratio",
        kind="gauge",
        help="The share of the backend's KV cache in use, as it says; absent while that is not known.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_endpoint_ratelimit_remaining_requests",
        kind="gauge",
        help="Requests that the provider says it still takes before its limit is reset; absent while that is not known.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_endpoint_ratelimit_remaining_tokens",
        kind="gauge",
        help="Tokens that the provider says it still takes before its limit is reset; absent while that is not known.",
        labels=("pool", "endpoint", *ENGINE),
    ),
    Metric(
        name="setpoint_pool_in_service",
        kind="gauge",
        help="0 from the drain of the pool to its reload, else 1.",
        labels=("pool", "engine"),
    ),
    Metric(
        name="setpoint_intent_standing",
        kind="gauge",
        help="1 for how an intent stands: met, at_risk, breached or unknown.",
        labels=("intent", "standing"),
    ),
    Metric(
        name="setpoint_intent_objective_measured",
        kind="gauge",
        help="An objective as measured over its intent's window: seconds, a share, or USD.",
        labels=("intent", "objective"),
    ),
    Metric(
        name="setpoint_intent_objective_target",
        kind="gauge",
        help="What was promised, in the same unit.",
        labels=("intent", "objective"),
    ),
    Metric(
        name="setpoint_intent_severity",
        kind="gauge",
        help="Measured by promised, refused and waiting requests included; at most 2.",
        labels=("intent", "objective"),
    ),
    Metric(
        name="setpoint_intent_rung",
        kind="gauge",
        help="Rungs of its ladder that an intent holds.",
        labels=("intent",),
    ),
    Metric(
        name="setpoint_intent_honoured",
        kind="gauge",
        help="1 if llm-d does what an intent asks of it, 0 if it does not; absent while that is not known.",
        labels=("pool", "intent"),
    ),
    Metric(
        name="setpoint_lane_limit_requests",
        kind="gauge",
        help="Requests that a model of a pool is given at once: the control loop's limit.",
        labels=("pool", "model"),
    ),
    Metric(
        name="setpoint_lane_inflight_requests",
        kind="gauge",
        help="Requests that a model of a pool works on.",
        labels=("pool", "model"),
    ),
    Metric(
        name="setpoint_lane_queued_requests",
        kind="gauge",
        help="Requests that wait for a model of a pool.",
        labels=("pool", "model"),
    ),
    Metric(
        name="setpoint_decisions_total",
        kind="counter",
        help="Decisions of the control loop.",
        labels=("intent", "kind", "rung"),
    ),
    Metric(
        name="setpoint_verdicts_total",
        kind="counter",
        help="Judged actions, by verdict: confirmed, no_effect, harmful, confounded, inconclusive.",
        labels=("intent", "rung", "verdict"),
    ),
    Metric(
        name="setpoint_loop_tick_seconds",
        kind="histogram",
        help="What one tick of the control loop takes; it comes four times a second.",
        buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1),
    ),
    Metric(
        name="setpoint_tasks_submitted_total",
        kind="counter",
        help="Submissions of tasks, by outcome: accepted, repeated (known by its idempotency key) or refused.",
        labels=("outcome",),
    ),
    Metric(
        name="setpoint_tasks_ended_total",
        kind="counter",
        help="Tasks that have ended, by state: succeeded, failed or cancelled.",
        labels=("state",),
    ),
    Metric(
        name="setpoint_tasks",
        kind="gauge",
        help="Tasks that have not ended, by state: queued, starting or streaming.",
        labels=("state",),
    ),
    Metric(
        name="setpoint_task_readers",
        kind="gauge",
        help="Streams of tasks that are read now.",
    ),
    Metric(
        name="setpoint_open_connections",
        kind="gauge",
        help="Client connections that are open.",
    ),
    Metric(
        name="setpoint_log_lines_dropped_total",
        kind="counter",
        help="Log lines dropped because the log could not be written fast enough.",
    ),
    Metric(
        name="setpoint_records_written_total",
        kind="counter",
        help="Requests whose record is in the database.",
    ),
    Metric(
        name="setpoint_records_dropped_total",
        kind="counter",
        help="Records that were lost: buffer_full (neither database nor file took them), refused (the database "
        "never will), unreadable (a broken line of the file), stopped.",
        labels=("reason",),
    ),
    Metric(
        name="setpoint_records_waiting",
        kind="gauge",
        help="Records in memory, on their way to the database.",
    ),
    Metric(
        name="setpoint_records_spilled_bytes",
        kind="gauge",
        help="Records in the spill file, on their way to the database.",
    ),
    Metric(
        name="setpoint_records_up",
        kind="gauge",
        help="1 if the records database took what it was last given.",
    ),
    Metric(
        name="setpoint_telemetry_traces_sent_total",
        kind="counter",
        help="Requests whose spans the OpenTelemetry collector took.",
    ),
    Metric(
        name="setpoint_telemetry_traces_dropped_total",
        kind="counter",
        help="Requests whose spans were lost: buffer_full, not_taken (sent three times in vain), stopped.",
        labels=("reason",),
    ),
    Metric(
        name="setpoint_telemetry_up",
        kind="gauge",
        help="1 if the OpenTelemetry collector took what it was last sent.",
    ),
    Metric(
        name="setpoint_workers",
        kind="gauge",
        help="Processes that carry requests: what --workers says, less those that are being started again.",
    ),
    Metric(
        name="setpoint_process_restarts_total",
        kind="counter",
        help="Processes of the gateway that died and were started again.",
    ),
    Metric(
        name="setpoint_build_info",
        kind="gauge",
        help="1 for the running version.",
        labels=("version",),
    ),
)


def as_markdown() -> str:
    """The contract as a page for people; `docs/metrics.md` is this text."""
    lines = [
        "# Metrics",
        "",
        "What `GET /metrics` exposes, in Prometheus' text format. Generated from `contracts/metrics.py`:",
        "",
        "    .venv/bin/python -c 'from contracts.metrics import as_markdown; print(as_markdown(), end=\"\")' > docs/metrics.md",
        "",
        "| name | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{m.name}` | {m.kind} | {', '.join(m.labels) or '-'} | {m.help} |" for m in METRICS
    ]
    return "\n".join([*lines, ""])
