"""`reasoning_effort` in Anthropic's words, which depend on the model's generation. Pure.

Three generations: models that do not think; models that think within a budget of tokens (3.7 to 4.5); and
models that decide for themselves how much, told an effort (4.6 and later). Names are all there is to go by:
an unknown one counts as the newest. A client may always send Anthropic's own `thinking` instead.
Source: `ThinkingConfigParam` and `OutputConfigParam` of the `anthropic` SDK.
"""

import re
from typing import Any, Literal

from adapters.chat_request import Effort

Generation = Literal["none", "budget", "adaptive"]
MIN_BUDGET_TOKENS = 1024
"""Anthropic's own; a budget must also be below `max_tokens`."""
_BUDGET_TOKENS: dict[Effort, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 24_576,
}
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)")
"""`claude-3-5-sonnet-20241022` is 3.5, `claude-opus-4-20250514` is 4.0."""


def generation(model: str) -> Generation:
    """How a model thinks, by its name at the provider."""
    found = _VERSION.search(model)
    if found is None:
        return "adaptive"
    version = int(found[1]), int(found[2] or 0)
    return "none" if version < (3, 7) else "budget" if version < (4, 6) else "adaptive"


def budget(effort: Effort, max_tokens: int) -> dict[str, Any] | None:
    """`thinking` for a model that thinks within a budget, of which at most half of the answer's tokens
    are spent so; None where the answer is too short for any."""
    tokens = min(_BUDGET_TOKENS[effort], max_tokens // 2)
    if tokens < MIN_BUDGET_TOKENS:
        return None
    return {"type": "enabled", "budget_tokens": tokens}


def adaptive() -> dict[str, Any]:
    """`thinking` for a model that decides for itself. Its newest models say nothing of it unless asked to."""
    return {"type": "adaptive", "display": "summarized"}


def effort_word(effort: Effort) -> str:
    """`output_config.effort`; there is nothing below "low"."""
    return "low" if effort == "minimal" else effort
