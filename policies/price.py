"""What an answer costs, by the price of the model that gave it. Pure.

What must stay true: unknown is unknown, and never zero. Without a price, or without the backend's own count,
there is no cost; a model that is free has a price of 0.
"""

from contracts.catalog import ModelCard
from contracts.events import Usage

DIGITS = 12
"""Of a US dollar, behind the point: prices are for a million tokens."""


def cost_usd(card: ModelCard | None, usage: Usage | None) -> float | None:
    """USD. Prompt tokens that the backend had in its cache cost `cached_input_price` where that is known, else as
    much as any other; where the backend does not tell how many there were, none were."""
    if card is None or card.input_price is None or card.output_price is None or usage is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    price_cached = card.cached_input_price
    if price_cached is None:
        price_cached = card.input_price
    prompt = (usage.prompt_tokens - cached) * card.input_price + cached * price_cached
    return round((prompt + usage.completion_tokens * card.output_price) / 1e6, DIGITS)
