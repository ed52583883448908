"""Traces and metrics on their way to a collector: a bounded buffer, emptied in a thread, off the hot path.

Knows nothing of OpenTelemetry: `gateway.otel` makes what is sent, and is imported only where `telemetry` is
configured. Must stay true: a request pays for one value in a queue and never waits; a collector that is down
costs what it was not given, which is counted, and one line in the log when it goes and when it is back.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Literal, Protocol

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.inference import InferRequest, Operation
from gateway import logs
from gateway.metrics import Metrics
from gateway.progress import Progress
from gateway.trace_context import TRACEPARENT, TRACESTATE, TraceContext, begin

BUFFER = 8192
"""Requests that wait to be told of, and as many whose spans wait to be sent."""
BATCH = 32
"""Requests whose spans are sent at once. Encoding two spans of each takes 4 ms in which nothing else runs, less
than what Python lets a thread have before it asks for the interpreter back."""
EXPORT_S = 1.0
METRICS_S = 15.0
RETRY_S = 5.0
TRIES = 3
"""How often a batch is sent before it is given up: a collector may refuse it for ever."""
FLUSH_S = 5.0
"""How long a stop waits for what is left."""

_BY_ITSELF: Mapping[str, str] = {}
DropReason = Literal["buffer_full", "not_taken", "stopped"]


class Finished(msgspec.Struct):
    """A request that has met its fate. Not to be changed: others hold the same values."""

    request_id: str
    operation: Operation
    model: str
    """As the client asked for it."""
    known_model: bool
    stream: bool
    task: bool
    max_tokens: int | None
    caller: str
    trace: TraceContext | None
    """Its own, where backends have heard of it."""
    came_with: Mapping[str, str]
    """What its client says of the trace."""
    decision: Decision
    progress: Progress
    status: int
    error_code: str | None
    ended_s: float
    """On the gateway's clock, as the times in `progress`."""
    wall_s: float
    """The same moment in Unix time."""


class Exporter(Protocol):
    """Makes and sends. Called by one thread at a time; `send_` methods say why not, "" for sent."""

    def take(self, finished: Finished, trace: TraceContext) -> tuple[object, ...]:
        """Count it in the metrics. Its spans; none where the trace is not kept."""
        ...

    def send_spans(self, spans: list[object]) -> str: ...

    def send_metrics(self) -> str: ...

    def close(self) -> None:
        """Nothing is sent any more; what is being sent may be given up. From any thread."""
        ...


class Telemetry:
    """`note` each request, `run` in the background, `aclose` at the end."""

    def __init__(
        self,
        exporter: Exporter,
        *,
        metrics: Metrics,
        share: float,
        passes_on: bool,
        clock: Callable[[], float],
    ) -> None:
        self._exporter = exporter
        self._metrics = metrics
        self._share = share
        self._passes_on = passes_on
        self._clock = clock
        self._one_round = threading.Lock()
        self._finished: deque[Finished] = deque()
        self._spans: deque[tuple[object, ...]] = deque()
        self._batch: list[tuple[object, ...]] = []
        """What was sent and not taken yet."""
        self._tries = 0
        self._retry_at_s = 0.0
        self._metrics_at_s = clock() + METRICS_S
        self._reason = ""
        """Why the last attempt to send came to nothing."""
        self._closing = False
        metrics.gauge("setpoint_telemetry_up").set(1)

    # -- on the hot path ------------------------------------------------------------------

    def begin(self, headers: Mapping[str, str]) -> TraceContext | None:
        """The trace of a request that is about to run, if backends are to hear of it."""
        return begin(headers, self._share) if self._passes_on else None

    def note(
        self,
        infer: InferRequest,
        decision: Decision,
        progress: Progress,
        catalog: Catalog,
        status: int,
        error: GatewayError | None,
        ended_s: float,
    ) -> None:
        """A request has met its fate. Takes references and returns at once."""
        if len(self._finished) >= BUFFER:
            self._dropped("buffer_full", 1)
            return
        facts = infer.facts
        if progress.fault is not None:  # an exception holds on to all that was on the stack
            progress = msgspec.structs.replace(progress, fault=None)
        headers = facts.headers
        came_with: Mapping[str, str] = _BY_ITSELF
        if TRACEPARENT in headers and progress.trace is None:
            came_with = {n: headers[n] for n in (TRACEPARENT, TRACESTATE) if n in headers}
        self._finished.append(
            Finished(
                infer.request_id,
                facts.operation,
                facts.model,
                facts.model in catalog.models or facts.model in catalog.routes,
                facts.stream,
                facts.task,
                facts.max_tokens,
                facts.key,
                progress.trace,
                came_with,
                decision,
                progress,
                status,
                error.code if error else None,
                ended_s,
                time.time(),
            )
        )

    # -- in the background ----------------------------------------------------------------

    async def run(self) -> None:
        """Send what there is, once a second. Cancel to stop."""
        while True:
            await asyncio.sleep(EXPORT_S)
            if self._finished or self._spans or self._batch or self._clock() >= self._metrics_at_s:
                await asyncio.to_thread(self._round)

    async def aclose(self) -> None:
        """Send what is left, for as long as that may take; what is still there then is lost."""
        self._retry_at_s = self._metrics_at_s = self._clock()
        self._tries = TRIES - 1
        try:
            async with asyncio.timeout(FLUSH_S):
                await asyncio.to_thread(self._round)
        except TimeoutError:
            pass
        finally:
            self._closing = True
            self._exporter.close()
            left = len(self._finished) + len(self._spans) + len(self._batch)
            if left:
                self._dropped("stopped", left)

    def _round(self) -> None:
        """One thread's turn: make spans of what has finished, and send them."""
        with self._one_round:
            self._make()
            if self._clock() < self._retry_at_s:
                return
            while not self._closing and (self._batch or self._spans):
                if not self._send_batch():
                    return
            if self._clock() >= self._metrics_at_s and not self._closing:
                self._metrics_at_s = self._clock() + METRICS_S
                self._heard(self._exporter.send_metrics())

    def _make(self) -> None:
        while self._finished and not self._closing:
            finished = self._finished.popleft()
            try:
                trace = finished.trace or begin(finished.came_with, self._share)
                spans = self._exporter.take(finished, trace)
            except Exception as exc:  # a bug of ours must not end the telemetry of everybody else
                logs.failure("telemetry_failed", exc)
                continue
            if spans:
                self._spans.append(spans)
            if len(self._spans) > BUFFER:
                self._spans.popleft()
                self._dropped("buffer_full", 1)
            time.sleep(0)  # let go of the interpreter: the event loop would wait 5 ms for it else

    def _send_batch(self) -> bool:
        """Whether it is out of the way."""
        while self._spans and len(self._batch) < BATCH:
            self._batch.append(self._spans.popleft())
        reason = self._exporter.send_spans([span for spans in self._batch for span in spans])
        self._heard(reason)
        if not reason:
            self._metrics.counter("setpoint_telemetry_traces_sent_total").inc(len(self._batch))
        else:
            self._retry_at_s = self._clock() + RETRY_S
            self._tries += 1
            if self._tries < TRIES:
                return False
            self._dropped("not_taken", len(self._batch))
        self._batch, self._tries = [], 0
        return not reason

    def _heard(self, reason: str) -> None:
        """Log what has changed about the collector; it may be away for days."""
        if bool(reason) != bool(self._reason):
            level = logging.WARNING if reason else logging.INFO
            event = "telemetry_not_sent" if reason else "telemetry_sent_again"
            logs.event(level, event, reason=reason or None)
            self._metrics.gauge("setpoint_telemetry_up").set(not reason)
        self._reason = reason

    def _dropped(self, reason: DropReason, count: int) -> None:
        self._metrics.counter("setpoint_telemetry_traces_dropped_total", reason).inc(count)


def is_installed() -> bool:
    """Whether the packages of the extra `otel` are there. Imports nothing of weight."""
    try:
        return all(
            find_spec(name) is not None
            for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
        )
    except ImportError:
        return False
