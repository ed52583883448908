"""What an answer costs, by the price of the model that gave it. Pure.

What must stay true: unknown is unknown, and never zero. Without a price, or without the backend's own count,
there is no cost; a model that is free has a price of 0.
"""

from contracts.catalog import ModelCard
from contracts.events import Usage

DIGITS = 12
"""Of a US dollar, behind the point: prices are for a million tokens."""
_SMALLEST = 10.0**DIGITS
"""So many of what the last digit counts are a dollar."""


def cost_usd(card: ModelCard | None, usage: Usage | None) -> float | None:
    """USD; None where the model has no price, and where nobody but the gateway has counted.

    Prompt tokens that the backend had in its cache cost `cached_input_price`, and those it has put there
    `cache_write_price`; where one of them is not known, as much as any other. Where the backend does not
    tell how many there were, none were.
    """
    if card is None or card.input_price is None or card.output_price is None:
        return None
    if usage is None or usage.estimated:
        return None
    prompt = usage.prompt_tokens * card.input_price
    if usage.cached_tokens or usage.cache_write_tokens:
        prompt = _prompt_with_cache(card, usage, card.input_price)
    usd = (prompt + usage.completion_tokens * card.output_price) / 1e6
    # `round` writes a number out and reads it again: three times as long.
    return int(usd * _SMALLEST + 0.5) / _SMALLEST


def _prompt_with_cache(card: ModelCard, usage: Usage, price: float) -> float:
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    written = min(usage.cache_write_tokens or 0, usage.prompt_tokens - cached)
    cached_price = price if card.cached_input_price is None else card.cached_input_price
    write_price = price if card.cache_write_price is None else card.cache_write_price
    fresh = usage.prompt_tokens - cached - written
    return fresh * price + cached * cached_price + written * write_price
