"""The running gateway: pools, catalogue, policies and what carries requests out. Built from a
configuration here, with `pool_building` and `telemetry_setup`, and nowhere else.

A request takes the policy set and the catalogue once, when it is decided; both are replaced as a
whole, so requests in flight finish under the ones they began with.
"""

import asyncio
import itertools
import logging
import os
import random
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from contracts.catalog import Catalog, ModelCard
from contracts.decision import Decision
from contracts.errors import NoReadyBackend
from contracts.inference import InferRequest, RequestFacts
from contracts.problems import ProblemsFound
from contracts.snapshot import Snapshot
from gateway import logs
from gateway.afterwards import Afterwards
from gateway.auth import Authenticator, AuthRules, Caller
from gateway.discovered_models import discovered_models
from gateway.error_answers import Discretion
from gateway.executor import Executor
from gateway.flight_recorder import FlightRecorder
from gateway.health import Health
from gateway.honour_watch import HonourWatch
from gateway.load_watch import LoadWatch
from gateway.metrics import Metrics
from gateway.parts import ALONE, Parts
from gateway.policy_files import load_policies
from gateway.pool_building import build_pool, metrics_source
from gateway.pools import Pool
from gateway.pools_now import PoolsNow
from gateway.route_names import with_route_names
from gateway.self_test import SelfTests
from gateway.settings import LoadedConfig
from gateway.telemetry_setup import build_telemetry
from gateway.version import VERSION
from policies.affinity import Sessions, SessionSettings
from policies.decide import decide
from policies.held import CALM, NO_DRAWS, draws
from policies.policy_set import PolicySet
from policies.steering import PoolBounds
from policies.usual import Usual

if TYPE_CHECKING:
    from gateway.records.keeper import Records


class Gateway:
    """Everything that requests share. Build it inside a running event loop.

    Raises ProblemsFound if the policies do not load.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        parts: Parts = ALONE,
    ) -> None:
        """`parts` are others where several processes are one gateway."""
        self.loaded = loaded
        self.config = loaded.config
        self.started_s = int(time.time())
        self.metrics = Metrics(VERSION)
        self.auth = Authenticator(_auth_rules(loaded))
        self.clock = clock
        self.afterwards = Afterwards()
        self.metrics.before_scrape(self.afterwards.flush)
        sessions = Sessions(_session_settings(loaded))
        self.pools = {
            spec.id: build_pool(spec, self.clock, sessions, self.afterwards, parts.pool)
            for spec in loaded.pools
        }
        self.snapshot = Snapshot(pools=PoolsNow(self.pools))
        """The pools at each moment that a decision asks."""
        self.catalog = with_route_names(loaded.catalog)
        self._listed: dict[str, list[ModelCard]] = {}
        """What the backends of a pool listed last."""
        self.policy = load_policies(loaded.policies_path, loaded.catalog, os.environ)
        self._usual = Usual(self.policy, self.catalog)
        self._refused = False
        """What is on disk now is broken; the policies in force are older."""
        self._reloading = asyncio.Lock()
        self.executor = Executor(
            self.pools,
            draw=random.random,
            new_id=lambda: f"call_{secrets.token_hex(12)}",
            clock=self.clock,
        )
        self.health = Health(list(self.pools.values()), self.discover)
        self.load_watch = LoadWatch(self.pools.values())
        self.self_tests = SelfTests(
            self.pools.values(),
            lambda: self.catalog,
            present=discretion(loaded).presentable,
            new_id=lambda: secrets.token_hex(12),
        )
        self.draining = False
        self.metrics.watch_pools(self.pools.values())
        self.loop = parts.loop(self.policy, self.catalog, self.clock())
        self.honours = {
            spec.id: parts.honour(self.loop, spec.id)
            for spec in loaded.pools
            if spec.engine in ("llmd", "embedded")
        }
        """Whether intents are honoured below, by pool."""
        self.honour_watch = HonourWatch(
            self.loop,
            self.honours,
            intents=lambda: self.policy.intents,
            sources={s.id: metrics_source(s, s.metrics) for s in loaded.pools if s.metrics},
            clock=self.clock,
        )
        self.budgets = parts.budgets(
            loaded.callers, loaded.config.auth.default_budget, metrics=self.metrics, clock=clock
        )
        self.records: Records | None = None
        """What keeps a record of each request. Whoever serves opens it."""
        self.telemetry = build_telemetry(loaded, self.metrics, clock)
        self._weights = {caller.name: caller.weight for caller in loaded.callers}
        self._requests, self._turns = itertools.count(1), itertools.count(1)
        self.loop.on_opened = lambda pool: self.pools[pool].wake()
        for pool in self.pools.values():
            pool.on_bounds = self._adopt
            self._adopt(pool)
        self.metrics.gauge("setpoint_policy_info", self.policy.version).set(1)

    # -- deciding -----------------------------------------------------------------------

    def decide(self, facts: RequestFacts, policy: PolicySet, catalog: Catalog) -> Decision:
        """The brain's word on one request."""
        holding = self.loop.held_now(self.clock())
        turn = NO_DRAWS if holding is CALM else draws(next(self._turns))
        usual = self._usual
        if usual.policy is not policy or usual.catalog is not catalog:
            usual = self._usual = Usual(policy, catalog)
        try:
            return decide(
                policy, catalog, facts, self.snapshot, holding=holding, draws=turn, usual=usual
            )
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
            next(self._requests),
            infer,
            decision,
            policy.intent(decision.intent),
            catalog.models,
            self._weights.get(infer.facts.key, 1.0),
            accepted_s,
            offered,
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

    def discover(self) -> None:
        """Models that backends list themselves join those of the configuration."""
        models = dict(self.loaded.catalog.models)
        for spec in self.loaded.pools:
            if spec.discovers:
                # A pool that is silent has not lost its models: its clients hear 503, not 404.
                if listed := discovered_models(self.pools[spec.id]):
                    self._listed[spec.id] = listed
                for card in self._listed.get(spec.id, ()):
                    models.setdefault(card.name, card)
        catalog = with_route_names(msgspec.structs.replace(self.loaded.catalog, models=models))
        if catalog != self.catalog:
            self.catalog = catalog
            self.loop.replace_catalog(catalog)
            logs.event(logging.INFO, "models", names=sorted(catalog.models))

    async def aclose(self) -> None:
        self.afterwards.flush()
        await self.honour_watch.aclose()
        for pool in self.pools.values():
            await pool.aclose()
        if self.records is not None:
            await self.records.aclose()
        if self.telemetry is not None:
            await self.telemetry.aclose()


def discretion(loaded: LoadedConfig) -> Discretion:
    """What takes secrets and backends' addresses out of errors."""
    return Discretion(loaded.redactor(), (url for spec in loaded.pools for url in spec.endpoints))


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
