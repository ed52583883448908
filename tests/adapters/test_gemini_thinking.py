"""An effort in the words of each generation of models."""

from typing import Any

import pytest

from adapters.chat_request import Effort
from adapters.gemini_thinking import CannotThink, thinking_config

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def budget(tokens: int) -> dict[str, Any]:
    return {"thinkingBudget": tokens, "includeThoughts": True}


def level(word: str) -> dict[str, Any]:
    return {"thinkingLevel": word, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        ("gemini-3-flash", "low", level("LOW")),
        ("gemini-3.1-pro-preview", "minimal", level("MINIMAL")),
        ("gemini-4", "max", level("XHIGH")),
        ("gemini-flash-latest", "medium", level("MEDIUM")),
        ("tunedModels/mine", "high", level("HIGH")),
        ("gemini-2.5-flash", "low", budget(1024)),
        ("gemini-2.5-pro", "medium", budget(8192)),
        ("models/gemini-2.5-flash-lite", "max", budget(24_576)),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.0-flash", "none", None),
    ],
)
def test_each_generation_has_its_own_words(model: str, effort: Effort, told: Any) -> None:
    assert thinking_config(effort, model) == told


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gemini-3-flash", "none"),
        ("gemini-2.5-pro", "none"),
        ("gemini-2.0-flash", "low"),
        ("gemini-1.5-pro", "high"),
    ],
)
def test_what_a_model_cannot_do_is_said(model: str, effort: Effort) -> None:
    with pytest.raises(CannotThink, match="this model"):
        thinking_config(effort, model)
