"""On what terms a model answers, as budgets count: what a token costs in whole picodollars, and how many fit.

Worked out once for each model of a catalogue, and not for each request. As `policies.price`, but in whole
numbers, and by an estimate too: what an engine does not count would be free else. Pure.
"""

import msgspec

from contracts.catalog import Catalog, ModelCard
from contracts.events import Usage


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """One model's. Prices in picodollars for a token; None, both: nobody knows what it costs."""

    prompt: int | None = None
    answer: int | None = None
    cached: int = 0
    written: int = 0
    context: int | None = None

    def cost(
        self, prompt_tokens: int, answer_tokens: int, usage: Usage | None = None
    ) -> int | None:
        """Picodollars; None where nobody knows the price. `usage` tells what its cache did."""
        if self.prompt is None or self.answer is None:
            return None
        cost = prompt_tokens * self.prompt + answer_tokens * self.answer
        if usage is not None and (usage.cached_tokens or usage.cache_write_tokens):
            cached = min(usage.cached_tokens or 0, prompt_tokens)
            written = min(usage.cache_write_tokens or 0, prompt_tokens - cached)
            cost += cached * (self.cached - self.prompt) + written * (self.written - self.prompt)
        return cost


UNKNOWN = Terms()
"""Those of a model that is not in the catalogue."""


class ModelTerms(dict[str, Terms]):
    """By model; `UNKNOWN` where there is no such one."""

    def __missing__(self, model: str) -> Terms:
        return UNKNOWN


def terms_of(catalog: Catalog) -> ModelTerms:
    """Of all its models."""
    return ModelTerms((name, _terms(card)) for name, card in catalog.models.items())


def _terms(card: ModelCard) -> Terms:
    prompt, answer = _per_token(card.input_price), _per_token(card.output_price)
    if prompt is None or answer is None:
        return Terms(context=card.context)
    cached, written = _per_token(card.cached_input_price), _per_token(card.cache_write_price)
    return Terms(
        prompt=prompt,
        answer=answer,
        cached=prompt if cached is None else cached,
        written=prompt if written is None else written,
        context=card.context,
    )


def _per_token(price: float | None) -> int | None:
    """A price is for a million tokens, and a picodollar a millionth of a microdollar."""
    return None if price is None else round(price * 1e6)
