"""The values that could have stood where another one did."""

import json
from typing import Any

import pytest

from contracts.anthropic_api import MessagesRequest
from contracts.openai_api import ChatRequest
from contracts.responses_api import ResponsesRequest
from gateway.expected_values import expected_values

pytestmark = pytest.mark.req("RUN-6")


def turn(role: str, **block: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": [block]}]}


@pytest.mark.parametrize(
    ("kind", "said", "path", "some", "none"),
    [
        (ChatRequest, turn("x"), "messages[0].role", "developer", "x"),
        (MessagesRequest, turn("x"), "messages[0].role", "assistant", "developer"),
        (MessagesRequest, turn("user"), "messages[0].content[0].type", "tool_result", "tool_use"),
        (MessagesRequest, turn("assistant"), "messages[0].content[0].type", "tool_use", "image"),
        (
            MessagesRequest,
            turn("user", type="image", source={"type": "file"}),
            "messages[0].content[0].source.type",
            "url",
            "content",
        ),
        (ResponsesRequest, {"reasoning": {"effort": 1}}, "reasoning.effort", "minimal", "1"),
        (ResponsesRequest, {"tool_choice": "x"}, "tool_choice", "required", "function"),
        (ResponsesRequest, {"tool_choice": {"type": "x"}}, "tool_choice.type", "function", "auto"),
        (ResponsesRequest, {"input": [{"type": "x"}]}, "input[0].type", "message", "x"),
    ],
)
def test_they_are_those_of_that_place(
    kind: Any, said: dict[str, Any], path: str, some: str, none: str
) -> None:
    known = expected_values(kind, json.dumps(said).encode(), path)
    assert some in known
    assert none not in known
    assert len(known) == len(set(known))


@pytest.mark.parametrize("path", ["model", "nothing.of[3].that", "messages[7].role[0]", ""])
def test_what_is_no_choice_of_words_has_none(path: str) -> None:
    assert expected_values(ChatRequest, b'{"model": 1}', path) == []


def test_nor_has_what_is_no_json() -> None:
    assert expected_values(ChatRequest, b"{", "model") == []
