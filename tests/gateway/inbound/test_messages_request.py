"""Anthropic's requests as chats: told, left out with a word, or refused by name."""

import json
from typing import Any

import msgspec
import pytest

from contracts.errors import ClientFault, InvalidField, InvalidJson, UnsupportedParameter
from contracts.inference import InferRequest
from gateway.inbound.messages_request import ENGINE, REFUSED, read_count, read_messages

pytestmark = pytest.mark.req("RUN-2", "RUN-6")

TOOL = {"name": "f", "input_schema": {"type": "object"}}
BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "Hi"}],
}


def read(**members: Any) -> InferRequest:
    body = json.dumps({**BODY, **members}).encode()
    infer, _, _ = read_messages(body, request_id="r", key="k", headers={"x": "y"})
    return infer


def chat(**members: Any) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in read(**members).members.items()}


def test_the_least_that_can_be_asked() -> None:
    infer = read()
    assert chat() == {"model": "m", "messages": BODY["messages"], "max_completion_tokens": 10}
    facts = infer.facts
    assert (facts.max_tokens, facts.stream, facts.key, facts.headers) == (
        10,
        False,
        "k",
        {"x": "y"},
    )
    assert (infer.operation, infer.untold) == ("chat", ())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"temperature": 0.5, "top_p": 0.1, "top_k": 7}, {"temperature": 0.5, "top_k": 7}),
        ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"max_tokens": 1e3}, {"max_completion_tokens": 1000}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 16384}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        (
            {"tools": [{**TOOL, "type": "custom", "description": "d", "strict": True}]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "parameters": {"type": "object"},
                            "description": "d",
                            "strict": True,
                        },
                    }
                ]
            },
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "answer",
                        "schema": {"type": "object"},
                        "strict": True,
                    },
                }
            },
        ),
    ],
)
def test_what_a_chat_has_words_for_is_told(asked: dict[str, Any], told: dict[str, Any]) -> None:
    said = chat(**asked)
    assert {name: said.get(name) for name in told} == told


@pytest.mark.parametrize("thinking", ["adaptive", "between_tools"])
def test_who_leaves_thinking_to_the_model_asks_for_nothing(thinking: str) -> None:
    assert "reasoning_effort" not in chat(thinking={"type": thinking})


@pytest.mark.parametrize(
    ("choice", "untold"),
    [
        ({"type": "auto"}, ()),
        ({"type": "none"}, ()),
        ({"type": "any"}, ("tool_choice",)),
        ({"type": "tool", "name": "f"}, ("tool_choice",)),
    ],
)
def test_a_choice_without_tools_is_none_and_named_where_it_demands_one(
    choice: dict[str, Any], untold: tuple[str, ...]
) -> None:
    infer = read(tool_choice=choice, tools=[])
    assert "tool_choice" not in infer.members
    assert infer.untold == untold


def test_anthropic_gets_what_the_client_wrote() -> None:
    asked = {"thinking": {"type": "adaptive"}, "cache_control": {"type": "ephemeral"}}
    native = read(**asked, system=None).native[ENGINE]
    assert {n: json.loads(bytes(raw)) for n, raw in native.items()} == {**BODY, **asked}


def test_what_no_chat_has_words_for_is_named() -> None:
    assert read(cache_control={}, speed="fast", future=1, service_tier=None).untold == (
        "cache_control",
        "speed",
        "future",
    )


def test_nor_does_anything_inside_of_a_member_disappear() -> None:
    hint = {"cache_control": {"type": "ephemeral"}}
    source = {"type": "content", "content": [{"type": "text", "text": "t", **hint}]}
    document = {"type": "document", "source": source, "citations": {"enabled": True}, **hint}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [document], **hint}
    infer = read(
        output_config={"effort": "low", "task_budget": 1},
        thinking={"type": "adaptive", "display": "summarized"},
        tools=[{**TOOL, **hint, "defer_loading": True}, {**TOOL, "defer_loading": True}],
        tool_choice={"type": "auto", "later": 1},
        metadata={"user_id": "u", "more": "x", "nothing": None},
        system=[{"type": "text", "text": "s", **hint, "citations": []}],
        messages=[{"role": "user", "content": [document, result]}],
    )
    assert set(infer.untold) == {
        "output_config.task_budget",
        "thinking.display",
        "tools.defer_loading",
        "tool_choice.later",
        "metadata.more",
        "system.citations",
        "messages.content.citations",
        "messages.content.content.citations",
    }


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_question_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        read(**{name: [{}]})
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"tools": [TOOL, {**TOOL, "type": "bash_20250124"}]}, "tools[1].type"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tools": [{"name": "bash"}]}, "tools[0].input_schema"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "mcp_tool_use"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                    }
                ]
            },
            "messages[0].content[0].source.type",
        ),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientFault) as caught:
        read(**wrong)
    assert caught.value.param == param


def test_a_limit_is_required_but_not_for_counting() -> None:
    body = json.dumps({n: v for n, v in BODY.items() if n != "max_tokens"}).encode()
    with pytest.raises(InvalidField) as caught:
        read_messages(body, request_id="r", key="", headers={})
    assert caught.value.param == "max_tokens"
    infer = read_count(body, request_id="r", key="", headers={})
    assert msgspec.json.decode(infer.members["messages"]) == BODY["messages"]
    with pytest.raises(InvalidJson):
        read_count(b"{", request_id="r", key="", headers={})


@pytest.mark.req("ENG-7")
@pytest.mark.parametrize(
    ("user", "session"),
    [
        ("user_1_account__session_3f-9", "3f-9"),
        ('{"device_id":"d","session_id":"3f-9"}', "3f-9"),
        ("somebody", ""),
    ],
)
def test_an_agents_session_is_known_by_its_user_id(user: str, session: str) -> None:
    assert read(metadata={"user_id": user}).facts.session == session


def test_a_session_that_is_named_in_the_header_comes_first() -> None:
    body = json.dumps({**BODY, "metadata": {"user_id": "u_session_a"}}).encode()
    infer, _, _ = read_messages(body, request_id="r", key="", headers={"x-session-id": "mine"})
    assert infer.facts.session == "mine"
