"""The models that a pool's backends list themselves."""

from contracts.catalog import ModelCard
from gateway.pools import Pool

MODEL_NAME_MAX_CHARS = 256
"""As in `contracts.openai_api`: a longer one could not be asked for."""


def discovered_models(pool: Pool) -> list[ModelCard]:
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
