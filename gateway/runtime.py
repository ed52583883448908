"""The running gateway: pools, catalogue, policies and what carries requests out. The only place that
builds objects from a configuration.

A request takes the policy set and the catalogue once, when it is decided; both are replaced as a
whole, so requests in flight finish under the ones they began with.
"""

import asyncio
import itertools
import logging
import os
import random
import secrets
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from adapters.fakellmd.fake_fleet import FakeFleet
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings
from adapters.registry import dialect_for
from adapters.transport import Transport
from contracts.catalog import Catalog, ModelCard, RouteOptions
from contracts.decision import Decision
from contracts.errors import NoReadyBackend
from contracts.inference import InferRequest, RequestFacts, RoutingPlan, Target
from contracts.problems import ProblemsFound
from contracts.snapshot import Snapshot
from gateway import logs
from gateway.auth import Authenticator, AuthRules, Caller
from gateway.budgets import Budgets
from gateway.configuration import HOSTED
from gateway.error_answers import Discretion
from gateway.executor import Executor
from gateway.flight_recorder import FlightRecorder
from gateway.health import Health
from gateway.honour_watch import SCRAPE_TIMEOUT_S, HonourWatch
from gateway.load_watch import LoadWatch
from gateway.metrics import Metrics
from gateway.policy_files import load_policies
from gateway.pools import Pool
from gateway.self_test import SelfTests
from gateway.settings import LoadedConfig, PoolSpec
from gateway.upstream import HttpTransport
from gateway.version import VERSION
from policies.affinity import Sessions, SessionSettings
from policies.decide import decide
from policies.held import CALM, NO_DRAWS, draws
from policies.honour import Honour
from policies.loop import Loop
from policies.policy_set import PolicySet
from policies.steering import PoolBounds

if TYPE_CHECKING:
    from gateway.records.keeper import Records
    from gateway.telemetry import Telemetry

MAX_CONNECTIONS_PER_ENDPOINT = 4096
"""Sockets to one backend; the pool's limit bounds requests long before this."""


MODEL_NAME_MAX_CHARS = 256
"""As in `contracts.openai_api`: a longer one could not be asked for."""


class Gateway:
    """Everything that requests share. Build it inside a running event loop.

    Raises ProblemsFound if the policies do not load.
    """

    def __init__(
        self, loaded: LoadedConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.loaded = loaded
        self.config = loaded.config
        self.started_s = int(time.time())
        self.metrics = Metrics(VERSION)
        self.auth = Authenticator(_auth_rules(loaded))
        self.clock = clock
        sessions = Sessions(_session_settings(loaded))
        self.pools = {spec.id: _build_pool(spec, self.clock, sessions) for spec in loaded.pools}
        self.catalog = loaded.catalog
        self.policy = load_policies(loaded.policies_path, loaded.catalog, os.environ)
        self._refused = False
        """What is on disk now is broken; the policies in force are older."""
        self._reloading = asyncio.Lock()
        self.executor = Executor(
            self.pools,
            draw=random.random,
            new_id=lambda: f"call_{secrets.token_hex(12)}",
            clock=self.clock,
        )
        self.health = Health(list(self.pools.values()), self._discover)
        self.load_watch = LoadWatch(self.pools.values())
        self.self_tests = SelfTests(
            self.pools.values(),
            lambda: self.catalog,
            present=discretion(loaded).presentable,
            new_id=lambda: secrets.token_hex(12),
        )
        self.draining = False
        self.metrics.watch_pools(self.pools.values())
        self.loop = Loop(self.policy, self.catalog, self.clock())
        self.honours = {
            spec.id: Honour() for spec in loaded.pools if spec.engine in ("llmd", "embedded")
        }
        """Whether intents are honoured below, by pool."""
        self.honour_watch = HonourWatch(
            self.loop,
            self.honours,
            intents=lambda: self.policy.intents,
            sources={s.id: _metrics_source(s, s.metrics) for s in loaded.pools if s.metrics},
            clock=self.clock,
        )
        self.budgets = Budgets(
            loaded.callers, loaded.config.auth.default_budget, metrics=self.metrics, clock=clock
        )
        self.records: Records | None = None
        """What keeps a record of each request. Whoever serves opens it."""
        self.telemetry = _telemetry(loaded, self.metrics, clock)
        self._weights = {caller.name: caller.weight for caller in loaded.callers}
        self._requests, self._turns = itertools.count(1), itertools.count(1)
        for pool in self.pools.values():
            pool.on_bounds = self._adopt
            self._adopt(pool)
        self.metrics.gauge("setpoint_policy_info", self.policy.version).set(1)

    # -- deciding -----------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        return Snapshot(pools={pool.id: pool.signals() for pool in self.pools.values()})

    def decide(self, facts: RequestFacts, policy: PolicySet, catalog: Catalog) -> Decision:
        """The brain's word on one request; pools are looked at only if a rule asks about them."""
        snapshot = self.snapshot() if policy.asks_pools else Snapshot()
        holding = self.loop.held_now(self.clock())
        turn = NO_DRAWS if holding is CALM else draws(next(self._turns))
        try:
            return decide(policy, catalog, facts, snapshot, holding=holding, draws=turn)
        except NoReadyBackend as exc:  # no backend has told its models; its pool knows why not
            silent = next((p for p in self.pools.values() if not p.ready), None)
            raise (silent.not_ready() if silent else exc) from exc

    def recorder(
        self,
        infer: InferRequest,
        decision: Decision,
        policy: PolicySet,
        catalog: Catalog,
        accepted_s: float,
        *,
        offered: bool = True,
    ) -> FlightRecorder:
        """The control loop's eye on one request; closed where it is not `offered` to any queue."""
        return FlightRecorder(
            self.loop,
            self.honours,
            self.clock,
            number=next(self._requests),
            infer=infer,
            decision=decision,
            intent=policy.intent(decision.intent),
            cards=catalog.models,
            weight=self._weights.get(infer.facts.key, 1.0),
            accepted_s=accepted_s,
            offered=offered,
        )

    def _adopt(self, pool: Pool) -> None:
        """The loop steers a pool within what its ready endpoints can do."""
        bounds = PoolBounds(endpoints=len(pool.ready), ceiling=float(pool.limit))
        self.loop.adopt(pool.id, pool.queue, bounds)

    async def reload_policies(self) -> PolicySet:
        """Read the policies again and put them in force; the old ones stay if they are broken.

        Reading and compiling happen in a thread, and streams go on meanwhile. One reload at a time:
        an older reading never replaces a newer one. Raises ProblemsFound.
        """
        async with self._reloading:
            return await self._reload()

    async def _reload(self) -> PolicySet:
        path, catalog = self.loaded.policies_path, self.loaded.catalog
        try:
            policy = await asyncio.to_thread(load_policies, path, catalog, os.environ)
        except ProblemsFound as exc:
            self.metrics.counter("setpoint_policy_reloads_total", "refused").inc()
            self._refused = True
            logs.event(
                logging.ERROR,
                "policies_refused",
                problems=[str(problem) for problem in exc.problems],
                in_force=self.policy.version,
            )
            raise
        if self._refused and policy.version == self.policy.version:
            logs.event(logging.INFO, "policies_mended", version=policy.version)
        self._refused = False
        if policy.version != self.policy.version:
            self.metrics.gauge("setpoint_policy_info", self.policy.version).set(0)
            self.metrics.gauge("setpoint_policy_info", policy.version).set(1)
            self.metrics.counter("setpoint_policy_reloads_total", "ok").inc()
            logs.event(
                logging.INFO,
                "policies_loaded",
                version=policy.version,
                replaces=self.policy.version,
                intents=list(policy.intents),
                rules=len(policy.rules),
            )
            self.policy = policy
            self.loop.replace(policy, self.catalog, self.clock())
        return policy

    # -- what is there ------------------------------------------------------------------

    def ready(self) -> bool:
        """Can any pool take work now?"""
        return not self.draining and any(pool.ready for pool in self.pools.values())

    def _discover(self) -> None:
        """Models that backends list themselves join those of the configuration."""
        models = dict(self.loaded.catalog.models)
        for spec in self.loaded.pools:
            if spec.discovers:
                # A pool that is silent has not lost its models: its clients hear 503, not 404.
                known = [card for card in self.catalog.models.values() if card.pool == spec.id]
                for card in _discovered(self.pools[spec.id]) or known:
                    models.setdefault(card.name, card)
        if models != self.catalog.models:
            self.catalog = msgspec.structs.replace(self.catalog, models=models)
            self.loop.replace_catalog(self.catalog)
            logs.event(logging.INFO, "models", names=sorted(models))

    async def aclose(self) -> None:
        await self.honour_watch.aclose()
        for pool in self.pools.values():
            await pool.aclose()
        if self.records is not None:
            await self.records.aclose()
        if self.telemetry is not None:
            await self.telemetry.aclose()


def plan(decision: Decision, catalog: Catalog) -> RoutingPlan:
    """Where to try, in order, from what was decided.

    Raises NoReadyBackend if every model has left the catalogue since.
    """
    cards = [card for name in decision.models if (card := catalog.models.get(name)) is not None]
    targets = tuple(map(_target, cards))
    if not targets:
        raise NoReadyBackend("the models of this request are no longer served", retry_after_s=1.0)
    options = catalog.route_options.get(decision.route) or RouteOptions()
    # What the control loop holds goes before what the configuration says.
    hedge_after_s = decision.hedge_after_s
    return RoutingPlan(
        targets=targets,
        route=decision.route if decision.route in catalog.route_options else "",
        overrides=decision.shaping.params,
        max_tokens=decision.shaping.max_tokens,
        constraints=decision.constraints,
        resume=options.resume,
        hedge_after_s=options.hedge_after_s if hedge_after_s is None else hedge_after_s,
        hedge_budget=options.hedge_budget,
    )


def _target(card: ModelCard) -> Target:
    return Target(
        model=card.name,
        pool=card.pool,
        upstream=card.upstream,
        context=card.context,
        prefill=card.prefill,
    )


def _discovered(pool: Pool) -> list[ModelCard]:
    """What its endpoints list, of names that can stand in a header."""
    return [
        ModelCard(
            name=name,
            pool=pool.id,
            upstream=name,
            context=endpoint.state.context,
            prefill=pool.dialect.prefill() != "none",
        )
        for endpoint in pool.endpoints
        for name in endpoint.state.models
        if name.isprintable() and 0 < len(name) <= MODEL_NAME_MAX_CHARS
    ]


def discretion(loaded: LoadedConfig) -> Discretion:
    """What takes secrets and backends' addresses out of errors."""
    return Discretion(loaded.redactor(), (url for spec in loaded.pools for url in spec.endpoints))


def _telemetry(
    loaded: LoadedConfig, metrics: Metrics, clock: Callable[[], float]
) -> "Telemetry | None":
    spec = loaded.telemetry
    if spec is None:
        return None
    # OpenTelemetry's SDK: a third of a second that others need not pay
    from gateway.otel import OtelExporter
    from gateway.otlp import Sender
    from gateway.telemetry import Telemetry

    exporter = OtelExporter(
        Sender(spec), version=VERSION, hosts=_public_hosts(loaded), redact=loaded.redactor().redact
    )
    return Telemetry(
        exporter,
        metrics=metrics,
        share=spec.sample,
        passes_on=spec.traceparent,
        clock=clock,
    )


def _public_hosts(loaded: LoadedConfig) -> dict[str, str]:
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


def _auth_rules(loaded: LoadedConfig) -> AuthRules:
    auth = loaded.config.auth
    return AuthRules(
        operator_token=loaded.token.reveal() if loaded.token else None,
        callers=tuple(
            (caller.token.reveal(), Caller(name=caller.name)) for caller in loaded.callers
        ),
        loopback_optional=auth.optional,
        proxy_user_header=auth.proxy_user_header if auth.trust_proxy_auth else None,
        proxies=loaded.proxies,
    )


def _session_settings(loaded: LoadedConfig) -> SessionSettings:
    wanted = loaded.config.sessions
    return SessionSettings(ttl_s=wanted.ttl, max_sessions=wanted.max)


def _build_pool(spec: PoolSpec, clock: Callable[[], float], sessions: Sessions) -> Pool:
    return Pool(
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


def _metrics_source(spec: PoolSpec, url: str) -> tuple[Transport, str]:
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
