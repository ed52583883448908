"""OTLP over HTTP: to one collector, by the SDK's exporters, which retry what may yet succeed for a while.

Imports the SDK, so import it only where `telemetry` is configured. Its calls block: for a thread. The SDK says
what went wrong to its own loggers and to nobody else; so they are listened to here, and stay out of the log,
which would have a line for every attempt.
"""

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from gateway.settings import TelemetrySpec

TIMEOUT_S = 3.0
"""For one batch, retries included."""
_SDK = "opentelemetry.exporter.otlp"


class Sender:
    """`send_` methods return why it was not taken, or "". Not for two threads at once."""

    def __init__(self, spec: TelemetrySpec) -> None:
        self._heard = _Heard()
        headers = {name: value.reveal() for name, value in spec.headers}
        self._spans = OTLPSpanExporter(
            endpoint=f"{spec.otlp}/v1/traces",
            headers=headers,
            timeout=TIMEOUT_S,
            compression=Compression.Gzip,
        )
        self._metrics = OTLPMetricExporter(
            endpoint=f"{spec.otlp}/v1/metrics",
            headers=headers,
            timeout=TIMEOUT_S,
            compression=Compression.Gzip,
        )
        self._closed = False

    def send_spans(self, spans: Sequence[ReadableSpan]) -> str:
        with self._heard:
            taken = self._spans.export(spans) is SpanExportResult.SUCCESS
        return "" if taken else self._heard.reason or "the collector did not take it"

    def send_metrics(self, data: MetricsData) -> str:
        with self._heard:
            taken = self._metrics.export(data) is MetricExportResult.SUCCESS
        return "" if taken else self._heard.reason or "the collector did not take it"

    def close(self) -> None:
        """Give up what is being sent, and let go of the connections."""
        if not self._closed:
            self._closed = True
            self._spans.shutdown()  # type: ignore[no-untyped-call]  # the library left it untyped
            self._metrics.shutdown()


class _Heard(logging.Handler):
    """What the SDK's exporters say while something is sent; the first of it is the reason of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reason = ""
        self._logger = logging.getLogger(_SDK)

    def emit(self, record: logging.LogRecord) -> None:
        self.reason = self.reason or record.getMessage()

    def __enter__(self) -> None:
        self.reason = ""
        self._logger.addHandler(self)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True
