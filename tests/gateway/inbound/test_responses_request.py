"""Requests of Responses as chats: told, repeated, left out with a word, or refused by name."""

import json
from typing import Any

import msgspec
import pytest

from contracts.errors import ClientFault, InvalidJson
from contracts.inference import InferRequest
from gateway.inbound.responses_request import REFUSED, read_responses

pytestmark = pytest.mark.req("RUN-2", "RUN-6")

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}


def read(**members: Any) -> tuple[InferRequest, dict[str, Any]]:
    body = json.dumps({"model": "m", "input": "Hi", **members}).encode()
    infer, repeated, _ = read_responses(body, request_id="r", key="k", headers={})
    return infer, json.loads(msgspec.json.encode(repeated))


def chat(**members: Any) -> dict[str, Any]:
    return {n: json.loads(bytes(raw)) for n, raw in read(**members)[0].members.items()}


def test_the_least_that_can_be_asked() -> None:
    infer, repeated = read()
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert (infer.untold, infer.facts.key, infer.facts.stream) == ((), "k", False)
    assert repeated["tools"] == []
    assert repeated["text"] == {"format": {"type": "text"}}
    assert repeated["instructions"] is None


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_output_tokens": 5.0}, {"max_completion_tokens": 5}),
        ({"temperature": 0.5, "top_p": 0.1}, {"temperature": 0.5, "top_p": 0.1}),
        ({"user": "u", "prompt_cache_key": "k"}, {"user": "u", "prompt_cache_key": "k"}),
        ({"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"verbosity": "medium"}}, {"verbosity": None}),
        ({"service_tier": "auto"}, {"service_tier": None}),
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
        ({"text": {"format": {"type": "text"}}}, {"response_format": None}),
        (
            {"text": {"format": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}, "strict": True},
                }
            },
        ),
        (
            {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
                    }
                ],
                "tool_choice": "required",
                "parallel_tool_calls": False,
            },
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "f"}],
                },
            },
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "f"}}],
                    },
                }
            },
        ),
        ({"tool_choice": "auto", "parallel_tool_calls": True}, {"tool_choice": None}),
    ],
)
def test_what_a_chat_has_words_for_is_told(asked: dict[str, Any], told: dict[str, Any]) -> None:
    said = chat(**asked)
    assert {name: said.get(name) for name in told} == told


def test_a_message_needs_no_type() -> None:
    assert chat(input=[{"role": "user", "content": "Hi"}])["messages"] == chat()["messages"]


def test_what_was_asked_is_repeated() -> None:
    _, repeated = read(instructions="Be brief.", metadata={"a": "b"}, tools=[TOOL], top_p=0.5)
    assert repeated["instructions"] == "Be brief."
    assert (repeated["metadata"], repeated["tools"]) == ({"a": "b"}, [TOOL])
    assert repeated["top_p"] == 0.5


def test_what_no_chat_has_words_for_is_named() -> None:
    infer, _ = read(
        include=["x"],
        truncation="auto",
        reasoning={"summary": "auto"},
        future=1,
        stream_options={"include_obfuscation": False},
    )
    assert set(infer.untold) == {"include", "truncation", "future", "reasoning.summary"}
    neutral = {"truncation": "disabled", "include": [], "top_logprobs": 0}
    assert read(**neutral, store=False, background=False)[0].untold == ()


@pytest.mark.parametrize(
    ("choice", "untold"),
    [
        ("auto", ()),
        ("none", ()),
        ("required", ("tool_choice",)),
        ({"type": "function", "name": "f"}, ("tool_choice",)),
    ],
)
def test_a_choice_without_tools_is_none_and_named_where_it_demands_one(
    choice: Any, untold: tuple[str, ...]
) -> None:
    infer, _ = read(tool_choice=choice)
    assert "tool_choice" not in infer.members
    assert infer.untold == untold


def test_nor_does_anything_inside_of_a_member_disappear() -> None:
    text = {"type": "output_text", "text": "a", "annotations": [], "logprobs": [], "more": 1}
    infer, _ = read(
        reasoning={"effort": "low", "mode": "x", "generate_summary": None},
        text={"verbosity": "low", "more": 1, "format": {"type": "text", "odd": 1}},
        tools=[{**TOOL, "defer_loading": True}],
        input=[
            {"role": "user", "content": "Hi", "phase": "commentary"},
            {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"},
            {
                "type": "message",
                "role": "assistant",
                "id": "m",
                "status": "done",
                "content": [text],
            },
        ],
    )
    assert set(infer.untold) == {
        "reasoning.mode",
        "text.more",
        "text.format.odd",
        "tools.defer_loading",
        "input.phase",
        "input.content.more",
    }


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        *(({name: "x"}, name) for name in REFUSED),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search", "name": "w"}]}, "tools[0].type"),
        ({"tools": [{"type": "local_shell"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "i"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].file_data",
        ),
        ({"input": None}, "input"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientFault) as caught:
        read(**wrong)
    assert caught.value.param == param


def test_what_is_no_json_is_said_to_be_none() -> None:
    with pytest.raises(InvalidJson):
        read_responses(b"{", request_id="r", key="", headers={})


@pytest.mark.req("ENG-7")
def test_requests_with_one_cache_key_are_one_session() -> None:
    assert read(prompt_cache_key="thread")[0].facts.session == "thread"
