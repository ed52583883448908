"""What serves where nobody configured a pool: a simulated llm-d in process, and providers with a key."""

from adapters.fakellmd.settings import LlmdSettings
from contracts.config import Config, Model, Pool, Price
from contracts.quantities import Money, Share
from gateway.configuration.findings import Findings
from gateway.configuration.pool_spec import pool_spec
from gateway.configuration.pools import described_engines
from gateway.configuration.providers import provider_pools
from gateway.configuration.routes import Routes
from gateway.settings import PoolSpec


def built_in(
    findings: Findings, config: Config
) -> tuple[tuple[PoolSpec, ...], list[Model], Routes]:
    """The pools, and the models and routes of the configuration, or some where it has no models."""
    sim = Pool(id="sim", engine="embedded")
    simulated = pool_spec(sim, (), None, described_engines(findings, sim, config.models))
    pools = (simulated, *provider_pools(findings.env, findings.problems))
    if config.models or not findings.sure((), "models"):
        return pools, config.models, config.routes
    models = [
        _model("assistant", "sim-large", quality=0.9, price=(0.60, 0.80)),
        _model("assistant-small", "sim-small", quality=0.7, price=(0.05, 0.08)),
    ]
    return pools, models, config.routes or {"assistant": ["assistant", "assistant-small"]}


def _model(name: str, upstream: str, *, quality: float, price: tuple[float, float]) -> Model:
    return Model(
        name=name,
        pool="sim",
        upstream=upstream,
        quality=Share(quality),
        context=LlmdSettings().max_model_len,
        price=Price(input=Money(price[0]), output=Money(price[1])),
    )
