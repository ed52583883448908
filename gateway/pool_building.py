"""From what is configured of a pool to the pool, and the ways to its backends."""

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from adapters.fakellmd.fake_fleet import FakeFleet
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings
from adapters.registry import dialect_for
from adapters.transport import Transport
from gateway.honour_watch import SCRAPE_TIMEOUT_S
from gateway.pools import Pool
from gateway.settings import PoolSpec
from gateway.upstream import HttpTransport
from policies.affinity import Sessions

MAX_CONNECTIONS_PER_ENDPOINT = 4096
"""Sockets to one backend; the pool's limit bounds requests long before this."""


def build_pool(
    spec: PoolSpec,
    clock: Callable[[], float],
    sessions: Sessions,
    make: Callable[..., Pool] = Pool,
) -> Pool:
    return make(
        spec.id,
        engine=spec.engine,
        dialect=dialect_for(spec.engine),
        transports=_transports(spec),
        options=spec,
        clock=clock,
        sessions=sessions,
    )


def _transports(spec: PoolSpec) -> list[Transport]:
    if spec.engine == "embedded" and not spec.simulated:
        return [FakeLlmd(LlmdSettings())]
    if not spec.endpoints:
        return [FakeFleet({name: FakeLlmd(told) for name, told in spec.simulated.items()})]
    context = _tls(spec)
    return [
        HttpTransport(
            url,
            connect_timeout_s=spec.timeouts.connect_s,
            max_connections=MAX_CONNECTIONS_PER_ENDPOINT,
            ssl=context if url.startswith("https") else None,
            where=f"pool {spec.id}, endpoint {number}",
        )
        for number, url in enumerate(spec.endpoints, 1)
    ]


def metrics_source(spec: PoolSpec, url: str) -> tuple[Transport, str]:
    """How to reach the metrics of a pool's endpoint picker, and their path there."""
    parts = urlsplit(url)
    transport = HttpTransport(
        f"{parts.scheme}://{parts.netloc}",
        connect_timeout_s=SCRAPE_TIMEOUT_S,
        max_connections=2,
        ssl=_tls(spec) if parts.scheme == "https" else None,
        where=f"metrics of pool {spec.id}",
    )
    return transport, parts.path.rstrip("/") or "/metrics"


def _tls(spec: PoolSpec) -> ssl.SSLContext | None:
    if spec.verify_tls and spec.ca_file is None:
        return None
    context = ssl.create_default_context(cafile=str(spec.ca_file) if spec.ca_file else None)
    if not spec.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
