"""From what is configured of a pool to the pool, and the ways to its backends."""

import ssl
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from adapters.fakellmd.settings import LlmdSettings
from adapters.registry import dialect_for
from adapters.transport import Transport
from gateway.afterwards import Afterwards
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
    afterwards: Afterwards,
    make: Callable[..., Pool] = Pool,
) -> Pool:
    return make(
        spec.id,
        engine=spec.engine,
        dialect=dialect_for(spec.engine),
        transports=_transports(spec, afterwards),
        options=spec,
        clock=clock,
        sessions=sessions,
    )


def _transports(spec: PoolSpec, afterwards: Afterwards) -> list[Transport]:
    if not spec.endpoints:
        return [_in_process(spec.simulated)]
    return [
        HttpTransport(
            url,
            connect_timeout_s=spec.timeouts.connect_s,
            max_connections=MAX_CONNECTIONS_PER_ENDPOINT,
            ssl=_tls(spec.verify_tls, spec.ca_file) if url.startswith("https") else None,
            where=f"pool {spec.id}, endpoint {number}",
            afterwards=afterwards,
        )
        for number, url in enumerate(spec.endpoints, 1)
    ]


def _in_process(simulated: Mapping[str, LlmdSettings]) -> Transport:
    """A fake llm-d for each upstream that is described, or one that is like any: 30 modules, which a gateway in front
    of engines has no use for."""
    from adapters.fakellmd.fake_fleet import FakeFleet
    from adapters.fakellmd.service import FakeLlmd

    if not simulated:
        return FakeLlmd(LlmdSettings())
    return FakeFleet({name: FakeLlmd(told) for name, told in simulated.items()})


def metrics_source(spec: PoolSpec, url: str) -> tuple[Transport, str]:
    """How to reach the metrics of a pool's endpoint picker, and their path there."""
    parts = urlsplit(url)
    transport = HttpTransport(
        f"{parts.scheme}://{parts.netloc}",
        connect_timeout_s=SCRAPE_TIMEOUT_S,
        max_connections=2,
        ssl=_tls(spec.verify_tls, spec.ca_file) if parts.scheme == "https" else None,
        where=f"metrics of pool {spec.id}",
    )
    return transport, parts.path.rstrip("/") or "/metrics"


@cache
def _tls(verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    """One for all endpoints that trust the same: to read the certificates of a machine takes 20 ms."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
