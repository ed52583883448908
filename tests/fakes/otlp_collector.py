"""An OpenTelemetry collector on loopback that understands what it is sent, and does with it what a test says."""

import asyncio
import gzip
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def plain(attributes: Any) -> dict[str, Any]:
    """OTLP's key-value pairs."""
    told: dict[str, Any] = {}
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        told[pair.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return told


class OtlpCollector:
    """`spans` and `points` (metric name, attributes, data point) as they came. `status` is its answer to
    each request; None: it takes the request and says nothing."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.spans: list[Span] = []
        self.points: list[tuple[str, dict[str, Any], Any]] = []
        self.resource: dict[str, Any] = {}
        self.url = ""
        self._port = 0

    async def start(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/v1/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def aclose(self) -> None:
        """Nobody listens there any more; `start` again on the same port."""
        await self._runner.cleanup()

    def named(self, name: str, **attributes: Any) -> list[Span]:
        return [
            span
            for span in self.spans
            if span.name == name and attributes.items() <= plain(span.attributes).items()
        ]

    def point(self, name: str, **attributes: Any) -> Any:
        """The last one of this metric with these attributes, dots written as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [p for n, told, p in self.points if n == name and wanted.items() <= told.items()]
        return found[-1]

    async def _read(self, request: web.Request) -> bytes:
        self.requests.append((request.path, dict(request.headers)))
        if self.status is None:
            await asyncio.Event().wait()
        body = await request.read()
        return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body

    async def _traces(self, request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await self._read(request))
        if self.status == 200:
            for resource in told.resource_spans:
                self.resource = plain(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        return web.Response(status=self.status or 500)

    async def _metrics(self, request: web.Request) -> web.Response:
        told = ExportMetricsServiceRequest.FromString(await self._read(request))
        if self.status == 200:
            for resource in told.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.histogram.data_points:
                            self.points.append((metric.name, plain(point.attributes), point))
        return web.Response(status=self.status or 500)
