"""`reasoning_effort` in Gemini's words, which depend on the model's generation. Pure.

Three generations: models that do not think; 2.5, which thinks within a budget of tokens; and 3 and later, which
are told a level and cannot be told not to think. Names are all there is to go by: an unknown one counts as the
newest. A client may always send Google's own `thinking_config` instead. Source: `ThinkingConfig` of the
`google-genai` SDK; Google's own table for its OpenAI-compatible endpoint, whose budgets these are.
"""

import re
from typing import Any

from adapters.chat_request import Effort

_BUDGET_TOKENS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
_LEVELS: dict[Effort, str] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?-?(\w+)?")
"""`gemini-2.5-flash-lite` is 2.5 flash."""


class CannotThink(ValueError):
    """What is asked of this model cannot be done; the text says why."""


def thinking_config(effort: Effort, model: str) -> dict[str, Any] | None:
    """`thinkingConfig`; None where nothing need be said. Raises CannotThink."""
    found = _VERSION.search(model)
    version = (int(found[1]), int(found[2] or 0)) if found else (99, 0)
    if version < (2, 5):
        if effort == "none":
            return None
        raise CannotThink("this model does not reason")
    if version < (3, 0):
        if effort == "none" and found and found[3] == "pro":
            raise CannotThink("this model cannot be told not to reason")
        thoughts = {"includeThoughts": True} if effort != "none" else {}
        return {"thinkingBudget": _BUDGET_TOKENS[effort], **thoughts}
    if effort == "none":
        raise CannotThink("this model cannot be told not to reason")
    return {"thinkingLevel": _LEVELS[effort], "includeThoughts": True}
