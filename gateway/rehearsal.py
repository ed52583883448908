"""A request carried as far as the backend's door, for `explain`: decided, and put into wire form.

Backends are asked only where the configuration leaves their models to be discovered. The embedded
one always is: it costs nothing, and unasked it would show as a pool that can do no work.
"""

import msgspec

from contracts.catalog import Catalog
from contracts.inference import InferRequest
from gateway.attempt_context import attempt_context
from gateway.explain import Explanation, explain
from gateway.health import Health
from gateway.routing_plan import plan
from gateway.runtime import Gateway
from gateway.settings import LoadedConfig
from policies.policy_set import PolicySet


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `body` is None where the request goes nowhere."""

    explanation: Explanation
    policy: PolicySet
    catalog: Catalog
    body: bytes | None


async def rehearse(loaded: LoadedConfig, infer: InferRequest) -> Rehearsal:
    """Raises ProblemsFound for policies that do not load."""
    gateway = Gateway(loaded)
    try:
        if loaded.catalog.discovering:
            await gateway.health.first_look()
        else:
            embedded = [pool for pool in gateway.pools.values() if pool.engine == "embedded"]
            await Health(embedded, lambda: None).first_look()
        told = explain(gateway.policy, gateway.catalog, infer.facts, gateway.snapshot)
        body = None
        if told.decision is not None and told.decision.models:
            routing = plan(told.decision, gateway.catalog)
            target = routing.targets[0]
            pool = gateway.pools[target.pool]
            told_most = max(pool.endpoints, key=lambda e: e.state.context or 0)
            context = attempt_context(routing, target, pool, told_most, gateway.catalog, 0.0)
            body = pool.dialect.request(infer, context).body
        return Rehearsal(
            explanation=told, policy=gateway.policy, catalog=gateway.catalog, body=body
        )
    finally:
        await gateway.aclose()
