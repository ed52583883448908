"""A finished request in OpenTelemetry's words: one span, one below it for each attempt, and GenAI metrics.

The only place for names of semantic conventions, which are still "Development" and change. Imports the SDK,
so import it only where `telemetry` is configured. What must stay true: no address of an operator's own
backend is in any of it, only those of providers that everybody knows; no prompt and no answer; every label
of a metric comes from the configuration or a closed set. Who sends it is `gateway.otlp`.
"""

import uuid
from collections.abc import Mapping
from typing import cast

from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from contracts.events import Usage
from contracts.inference import Operation
from gateway.metrics import bounded_code
from gateway.otlp import Sender
from gateway.progress import AttemptRecord
from gateway.records.storable import Redact, storable_text
from gateway.telemetry import Finished
from gateway.trace_context import TraceContext

OPERATIONS: dict[Operation, str] = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
}
PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gcp.gemini"}
"""Whose words an engine speaks; the others are called what they are called here."""
DURATION_BUCKETS_S = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
TTFT_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
TPOT_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKEN_BUCKETS = tuple(4.0**n for n in range(14))
UNKNOWN_MODEL = "unknown"
_TEXT_CHARS = 256
_INT64_MAX = 2**63 - 1
_SCOPE = "setpoint"

Value = str | bool | int | float | list[str]


class OtelExporter:
    """`hosts` are the public addresses of pools that have one."""

    def __init__(
        self,
        sender: Sender,
        *,
        version: str,
        hosts: Mapping[str, str],
        redact: Redact,
    ) -> None:
        self._sender = sender
        self._hosts = hosts
        self._redact = redact
        resource = Resource.create(
            {
                "service.name": "setpoint",
                "service.version": version,
                "service.instance.id": str(uuid.uuid4()),
            }
        )
        self._ids = _Ids()
        self._made = _Made()
        tracers = TracerProvider(
            sampler=ALWAYS_ON,  # what is not kept does not come here
            resource=resource,
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        tracers.add_span_processor(self._made)
        self._tracer = tracers.get_tracer(_SCOPE, version)
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        meter = meters.get_meter(_SCOPE, version)

        def histogram(name: str, unit: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(
                name, unit, text, explicit_bucket_boundaries_advisory=list(buckets)
            )

        self._attempt_s = histogram(
            "gen_ai.client.operation.duration", "s", "One attempt at a backend.", DURATION_BUCKETS_S
        )
        self._tokens = histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of one attempt.", TOKEN_BUCKETS
        )
        self._request_s = histogram(
            "gen_ai.server.request.duration", "s", "Accepted to last byte.", DURATION_BUCKETS_S
        )
        self._ttft_s = histogram(
            "gen_ai.server.time_to_first_token", "s", "Accepted to first content.", TTFT_BUCKETS_S
        )
        self._tpot_s = histogram(
            "gen_ai.server.time_per_output_token", "s", "After the first content.", TPOT_BUCKETS_S
        )

    # -- an Exporter ----------------------------------------------------------------------

    def take(self, finished: Finished, trace: TraceContext) -> tuple[object, ...]:
        self._measure(finished)
        if not trace.sampled:
            return ()
        self._made.spans = []
        self._execution(finished, trace)
        for number, attempt in enumerate(finished.progress.attempts, 1):
            self._attempt(finished, attempt, number, attempt.trace or trace.child())
        return tuple(self._made.spans)

    def send_spans(self, spans: list[object]) -> str:
        return self._sender.send_spans(cast("list[ReadableSpan]", spans))

    def send_metrics(self) -> str:
        data: MetricsData | None = self._reader.get_metrics_data()
        return self._sender.send_metrics(data) if data is not None else ""

    def close(self) -> None:
        self._sender.close()

    # -- spans ----------------------------------------------------------------------------

    def _execution(self, finished: Finished, trace: TraceContext) -> None:
        decision, progress = finished.decision, finished.progress
        target, last = progress.target, progress.attempts[-1] if progress.attempts else None
        told: dict[str, Value | None] = {
            "gen_ai.operation.name": OPERATIONS[finished.operation],
            "gen_ai.request.model": self._text(finished.model),
            "gen_ai.request.max_tokens": _int64(finished.max_tokens),
            "gen_ai.request.stream": finished.stream,
            "gen_ai.response.model": self._text(target.upstream) if target else None,
            "gen_ai.response.finish_reasons": [self._text(r) for r in progress.finish_reasons],
            "gen_ai.response.time_to_first_chunk": _since(
                progress.first_token_s, progress.accepted_s
            ),
            "gen_ai.provider.name": _provider(last.engine) if last else None,
            "http.response.status_code": finished.status,
            "error.type": self._text(finished.error_code),
            "setpoint.request_id": self._text(finished.request_id),
            "setpoint.caller": self._text(finished.caller),
            "setpoint.task": finished.task,
            "setpoint.intent": decision.intent,
            "setpoint.decision": self._redact(decision.summary),
            "setpoint.policy": decision.policy_version,
            "setpoint.model": target.model if target else None,
            "setpoint.pool": target.pool if target else None,
            "setpoint.queue.duration": progress.queue_s,
            "setpoint.attempts": len(progress.attempts),
            **_usage(progress.usage),
        }
        # a client's own fault is no failure of the server's; one that came after the head is
        failed = finished.status >= 500 or finished.status == 200
        self._span(
            f"{OPERATIONS[finished.operation]} {self._text(finished.model)}",
            trace,
            trace.parent_id is not None,
            SpanKind.SERVER,
            told,
            (_ns(finished, progress.accepted_s), _ns(finished, finished.ended_s)),
            finished.error_code if failed else None,
        )

    def _attempt(
        self, finished: Finished, attempt: AttemptRecord, number: int, trace: TraceContext
    ) -> None:
        begin_s = attempt.dispatched_s
        if begin_s is None:
            return  # it was given up before anything was sent
        upstream = self._text(attempt.target.upstream)
        told: dict[str, Value | None] = {
            "gen_ai.operation.name": OPERATIONS[finished.operation],
            "gen_ai.provider.name": _provider(attempt.engine),
            "gen_ai.request.model": upstream,
            "gen_ai.response.time_to_first_chunk": _since(attempt.first_token_s, begin_s),
            "server.address": self._hosts.get(attempt.target.pool),
            "http.response.status_code": attempt.status,
            "error.type": self._text(attempt.fault),
            "setpoint.attempt": number,
            "setpoint.model": attempt.target.model,
            "setpoint.pool": attempt.target.pool,
            "setpoint.replica": attempt.replica,
            "setpoint.engine.version": self._text(attempt.version),
            **_usage(attempt.usage),
        }
        end_s = finished.ended_s if attempt.ended_s is None else attempt.ended_s
        self._span(
            f"{OPERATIONS[finished.operation]} {upstream}",
            trace,
            False,
            SpanKind.CLIENT,
            told,
            (_ns(finished, begin_s), _ns(finished, end_s)),
            attempt.fault,
        )

    def _span(
        self,
        name: str,
        trace: TraceContext,
        remote: bool,
        kind: SpanKind,
        told: Mapping[str, Value | None],
        times_ns: tuple[int, int],
        error: str | None,
    ) -> None:
        parent = NonRecordingSpan(
            SpanContext(
                trace.trace_id if trace.parent_id is not None else 0,
                trace.parent_id or 0,
                is_remote=remote,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
                trace_state=TraceState.from_header([trace.state]) if trace.state else None,
            )
        )
        self._ids.next = trace
        span = self._tracer.start_span(
            name,
            set_span_in_context(parent),
            kind,
            {key: value for key, value in told.items() if value not in (None, "", [])},
            start_time=times_ns[0],
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, self._text(error)))
        span.end(max(times_ns))

    # -- metrics --------------------------------------------------------------------------

    def _measure(self, finished: Finished) -> None:
        progress, target = finished.progress, finished.progress.target
        last = progress.attempts[-1] if progress.attempts else None
        labels: dict[str, str] = {
            "gen_ai.operation.name": OPERATIONS[finished.operation],
            "gen_ai.request.model": finished.model if finished.known_model else UNKNOWN_MODEL,
            "setpoint.intent": finished.decision.intent or "none",
        }
        if target is not None and last is not None:
            labels["gen_ai.response.model"] = target.upstream
            labels["gen_ai.provider.name"] = _provider(last.engine)
        if finished.error_code is None and progress.first_token_s is not None:
            self._ttft_s.record(progress.first_token_s - progress.accepted_s, labels)
            if progress.tpot_s is not None:
                self._tpot_s.record(progress.tpot_s, labels)
        if finished.error_code is not None:
            labels = {**labels, "error.type": bounded_code(finished.error_code)}
        self._request_s.record(finished.ended_s - progress.accepted_s, labels)
        for attempt in progress.attempts:
            self._measure_attempt(finished, attempt)

    def _measure_attempt(self, finished: Finished, attempt: AttemptRecord) -> None:
        labels: dict[str, str] = {
            "gen_ai.operation.name": OPERATIONS[finished.operation],
            "gen_ai.provider.name": _provider(attempt.engine),
            "gen_ai.request.model": attempt.target.upstream,
        }
        if host := self._hosts.get(attempt.target.pool):
            labels["server.address"] = host
        usage = attempt.usage
        if usage is not None and not usage.estimated:
            self._tokens.record(usage.prompt_tokens, {**labels, "gen_ai.token.type": "input"})
            self._tokens.record(usage.completion_tokens, {**labels, "gen_ai.token.type": "output"})
        if attempt.dispatched_s is None:
            return
        if attempt.fault is not None:
            labels["error.type"] = bounded_code(attempt.fault)
        end_s = finished.ended_s if attempt.ended_s is None else attempt.ended_s
        self._attempt_s.record(max(0.0, end_s - attempt.dispatched_s), labels)

    def _text(self, text: str | None) -> str:
        """As a span may hold it; clients and engines may write anything."""
        return storable_text(text[:_TEXT_CHARS], self._redact) if text else ""


class _Ids(IdGenerator):
    """Ids that are known before their span is made: backends may have been told of them."""

    next = TraceContext(trace_id=1, span_id=1)

    def generate_span_id(self) -> int:
        return self.next.span_id

    def generate_trace_id(self) -> int:
        return self.next.trace_id

    def is_trace_id_random(self) -> bool:
        return True


class _Made(SpanProcessor):
    """Keeps the spans that have ended, for whoever sends them."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _provider(engine: str) -> str:
    return PROVIDERS.get(engine, engine)


def _usage(usage: Usage | None) -> dict[str, Value | None]:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": _int64(usage.prompt_tokens),
        "gen_ai.usage.output_tokens": _int64(usage.completion_tokens),
        "gen_ai.usage.cache_read.input_tokens": _int64(usage.cached_tokens),
        "gen_ai.usage.cache_creation.input_tokens": _int64(usage.cache_write_tokens),
        "gen_ai.usage.reasoning.output_tokens": _int64(usage.reasoning_tokens),
        "setpoint.usage.estimated": usage.estimated or None,
    }


def _int64(number: int | None) -> int | None:
    """A client may write any number, and an engine too."""
    return None if number is None else max(-_INT64_MAX, min(number, _INT64_MAX))


def _since(moment_s: float | None, start_s: float) -> float | None:
    return None if moment_s is None else moment_s - start_s


def _ns(finished: Finished, moment_s: float) -> int:
    """A moment on the gateway's clock as Unix time."""
    return int((finished.wall_s - (finished.ended_s - moment_s)) * 1e9)
