"""From a configuration to what tells a collector of each request. OpenTelemetry is imported only where one is told."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.configuration.providers import HOSTED
from gateway.metrics import Metrics
from gateway.settings import LoadedConfig
from gateway.version import VERSION

if TYPE_CHECKING:
    from gateway.telemetry import Telemetry


def build_telemetry(
    loaded: LoadedConfig, metrics: Metrics, clock: Callable[[], float]
) -> "Telemetry | None":
    """None where no collector is configured."""
    spec = loaded.telemetry
    if spec is None:
        return None
    # OpenTelemetry's SDK: a third of a second that others need not pay
    from gateway.otel import OtelExporter
    from gateway.otlp import Sender
    from gateway.telemetry import Telemetry

    exporter = OtelExporter(
        Sender(spec), version=VERSION, hosts=public_hosts(loaded), redact=loaded.redactor().redact
    )
    return Telemetry(
        exporter,
        metrics=metrics,
        share=spec.sample,
        passes_on=spec.traceparent,
        clock=clock,
    )


def public_hosts(loaded: LoadedConfig) -> dict[str, str]:
    """By pool, the host of a provider that everybody knows. Where an operator's own backends are is told
    to nobody."""
    known = {urlsplit(url).hostname for url in HOSTED.values()}
    hosts = {
        pool.id: host
        for pool in loaded.pools
        for url in pool.endpoints
        if (host := urlsplit(url).hostname)
    }
    return {pool_id: host for pool_id, host in hosts.items() if host in known}
