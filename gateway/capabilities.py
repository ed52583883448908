"""`GET /v1/capabilities`: what this gateway can do, said from what is configured, known and probed.

Pure; reads, asks nobody. What is not known is null, and not guessed.
"""

from collections.abc import Collection

from contracts.capability_answers import (
    Capabilities,
    CapabilityLimits,
    EngineCapability,
    Features,
    IntentCapability,
    ModelCapability,
    ModelPrice,
    QueueLimits,
)
from contracts.catalog import ModelCard
from contracts.config import Config
from gateway.pools import Pool
from gateway.runtime import Gateway
from gateway.version import VERSION
from policies.objectives import objectives_of

TASKS = "/v1/tasks"
TAKE_WORK = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    TASKS,
)


def capabilities(gateway: Gateway, paths: Collection[str]) -> Capabilities:
    """As it is now. `paths` are those that the application has."""
    config, pools = gateway.config, gateway.pools
    cards = gateway.catalog.models
    return Capabilities(
        version=VERSION,
        engines=_engines(list(pools.values())),
        models=[_model(cards[name], pools[cards[name].pool]) for name in sorted(cards)],
        features=_features(config, paths),
        limits=_limits(config, list(pools.values())),
        intents=[
            IntentCapability(
                name=intent.name,
                priority=intent.priority,
                objectives={promised.name: promised.target for promised in objectives_of(intent)},
            )
            for intent in gateway.policy.intents.values()
        ],
    )


def _engines(pools: list[Pool]) -> list[EngineCapability]:
    found = []
    for engine in sorted({pool.engine for pool in pools}):
        mine = [pool for pool in pools if pool.engine == engine]
        told = {endpoint.state.version for pool in mine for endpoint in pool.endpoints}
        found.append(
            EngineCapability(
                engine=engine,
                pools=[pool.id for pool in mine],
                versions=sorted(version for version in told if version),
            )
        )
    return found


def _model(card: ModelCard, pool: Pool) -> ModelCapability:
    told = [e.state.context for e in pool.endpoints if e.state.context]
    priced = card.input_price is not None and card.output_price is not None
    return ModelCapability(
        name=card.name,
        pool=card.pool,
        engine=pool.engine,
        context=card.context or min(told, default=None),
        quality=card.quality,
        price=ModelPrice(input=card.input_price or 0.0, output=card.output_price or 0.0)
        if priced
        else None,
    )


def _features(config: Config, paths: Collection[str]) -> Features:
    return Features(
        endpoints=[path for path in TAKE_WORK if path in paths],
        streaming=True,
        tasks=TASKS in paths,
        sessions=config.sessions.ttl > 0,
        budgets=bool(config.auth.default_budget or any(key.budget for key in config.auth.keys)),
        durable_tasks=TASKS in paths and config.tasks.durable,
    )


def _limits(config: Config, pools: list[Pool]) -> CapabilityLimits:
    limits = config.limits
    return CapabilityLimits(
        body_bytes=int(limits.body),
        header_bytes=int(limits.header),
        headers=limits.headers,
        answer_bytes=int(limits.answer),
        body_timeout_s=float(limits.body_timeout),
        stream_heartbeat_s=float(config.streams.heartbeat),
        session_ttl_s=float(config.sessions.ttl),
        task_ttl_default_s=float(config.tasks.ttl),
        task_ttl_max_s=float(config.tasks.max_ttl),
        queues=[
            QueueLimits(
                pool=pool.id,
                max_requests=pool.options.max_waiting,
                timeout_s=pool.options.queue_timeout_s,
                max_tasks=pool.options.max_tasks,
            )
            for pool in pools
        ],
    )
