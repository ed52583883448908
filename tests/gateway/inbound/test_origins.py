"""A refusal names what the client wrote, in whichever language it did."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ErrorBody, InvalidField, UnsupportedParameter
from gateway.inbound.messages_tongue import MessagesTongue
from gateway.inbound.origins import SAME, Origins, Place
from gateway.inbound.responses_tongue import ResponsesTongue
from gateway.tongues import Tongue
from tests.fakes.edge import Edge, start_edge
from tests.fakes.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.req("RUN-2", "RUN-6")

MESSAGES, RESPONSES = MessagesTongue(), ResponsesTongue()
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
IMAGE = {"type": "input_image", "image_url": "https://x.org/a.png"}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
FORMAT = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


USED = {
    "role": "assistant",
    "content": [text("so"), {"type": "tool_use", "id": "t", "name": "f", "input": {}}],
}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [text("ok"), PNG]}


def named(tongue: Tongue, asked: dict[str, Any], param: str) -> str:
    """What the client hears for what is `param` to the backend; the message says the same."""
    body = json.dumps({"model": "m", **asked}).encode()
    voice = tongue.read(body, request_id="r", key="", headers={}).voice
    error = UnsupportedParameter(f"{param} is not supported by the engine mlx", param=param)
    told = json.loads(voice.error(error, "r"))["error"]
    assert told["message"] == f"{told['param']} is not supported by the engine mlx"
    assert error.param == param, "the log, and who else asks, are told of one thing only"
    answer: str = told["param"]
    return answer


@pytest.mark.parametrize(
    ("members", "param", "theirs"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "reasoning_effort", "thinking"),
        ({"thinking": {"type": "disabled"}}, "reasoning_effort", "thinking"),
        ({"output_config": {"effort": "low"}}, "reasoning_effort", "output_config.effort"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
            "response_format",
            "output_config.format",
        ),
        ({}, "response_format.json_schema.schema", "output_config.format.schema"),
        ({}, "max_completion_tokens", "max_tokens"),
        ({}, "stop", "stop_sequences"),
        ({}, "user", "metadata.user_id"),
        ({}, "top_k", "top_k"),
        ({}, "tool_choice.function.name", "tool_choice.name"),
        ({}, "parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
        ({"tools": [TOOL]}, "tools[0].function", "tools[0]"),
        ({"tools": [TOOL]}, "tools[0].function.name", "tools[0].name"),
        ({"tools": [TOOL]}, "tools[0].function.parameters.type", "tools[0].input_schema.type"),
    ],
)
def test_a_member_of_a_message_request(members: dict[str, Any], param: str, theirs: str) -> None:
    asked = {"max_tokens": 9, "messages": [user(text("Hi"))], **members}
    assert named(MESSAGES, asked, param) == theirs


@pytest.mark.parametrize(
    ("turns", "param", "theirs"),
    [
        ([user(PNG)], "messages[1].content[0]", "messages[0].content[0]"),
        ([user(PNG)], "messages[1].content[0].image_url", "messages[0].content[0]"),
        ([user(text("a"), text("b"))], "messages[1].content", "messages[0].content"),
        ([user(text("a"))], "messages[0].content", "system"),
        ([user(text("a"))], "messages[0].role", "system"),
        ([user(text("a"), PNG), user(text("b"), PNG)], "messages[1].content[3]", "messages[1].content[1]"),
        ([user(text("a")), USED], "messages[2].tool_calls[0].function.arguments", "messages[1].content[1]"),
        ([user(text("a")), USED, user(RESULT)], "messages[3].tool_call_id", "messages[2].content[0]"),
        ([user(text("a")), USED, user(RESULT)], "messages[4].content[1]", "messages[2].content[0].content[1]"),
        ([user(text("a")), USED, user(RESULT, text("b"))], "messages[4].content[2]", "messages[2].content[1]"),
        ([user(text("a"))], "messages[7].content", "messages[7].content"),
        ([user(text("a"))], "messages", "messages"),
    ],
)  # fmt: skip
def test_a_place_in_a_conversation(turns: list[Any], param: str, theirs: str) -> None:
    """Where there is a system prompt, their message 0 is the chat's message 1."""
    asked = {"max_tokens": 9, "system": "Be brief.", "messages": turns}
    assert named(MESSAGES, asked, param) == theirs


@pytest.mark.parametrize(
    ("members", "param", "theirs"),
    [
        ({"text": {"format": FORMAT}}, "response_format", "text.format"),
        ({}, "response_format.json_schema.schema", "text.format.schema"),
        ({"reasoning": {"effort": "low"}}, "reasoning_effort", "reasoning.effort"),
        ({}, "verbosity", "text.verbosity"),
        ({}, "max_completion_tokens", "max_output_tokens"),
        ({}, "tool_choice.function", "tool_choice"),
        ({}, "tools[1].function.parameters", "tools[1].parameters"),
        ({}, "messages[0].content", "instructions"),
        ({}, "messages[1].content", "input"),
        ({}, "messages", "input"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "messages[1].content[0]", "input[0].content[0]"),
        ({"input": [{"role": "user", "content": "a"}]}, "messages[1].content", "input[0].content"),
        (
            {
                "input": [
                    {"role": "user", "content": "a"},
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"},
                ]
            },
            "messages[2].tool_calls[0].function.arguments",
            "input[2]",
        ),
        (
            {
                "input": [
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {
                        "type": "function_call_output",
                        "call_id": "c",
                        "output": [{"type": "input_text", "text": "t"}, IMAGE],
                    },
                ]
            },
            "messages[3].content[1]",
            "input[1].output[1]",
        ),
    ],
)  # fmt: skip
def test_a_member_of_a_responses_request(members: dict[str, Any], param: str, theirs: str) -> None:
    asked = {"instructions": "Be brief.", "input": "Hi", **members}
    assert named(RESPONSES, asked, param) == theirs


def test_what_is_wrong_with_the_chat_is_said_of_what_it_came_from() -> None:
    origins = Origins(messages=[Place(path="system", content="system")], members={"stop": "ends"})
    error = origins.corrected(InvalidField("stop: at most 4", param="stop"))
    assert (error.message, error.param) == ("ends: at most 4", "ends")


def test_only_the_name_itself_is_replaced() -> None:
    said = ErrorBody(
        message="stop: no stopping, not stop.it nor stop[0]; unstop stop",
        type="t",
        param="stop",
        code=None,
        source="gateway",
    )
    told = Origins(members={"stop": r"end\1"}).told(said)
    assert told.message == r"end\1: no stopping, not end\1.it nor stop[0]; unstop end\1"
    assert SAME.told(said) is said


# -- the whole way ---------------------------------------------------------------------------


@pytest.fixture
async def edge(engine: ScriptedEngine, tmp_path: Path) -> AsyncIterator[Edge]:
    """In front of an engine that refuses a lot."""
    made = await start_edge(
        tmp_path,
        f"pools: [{{id: main, engine: mlx, endpoint: '{engine.url}', retries: 0, probe_interval: 100ms}}]\n"
        "models: [{name: served, pool: main, upstream: real, quality: 0.9}]\n",
        None,
    )
    yield made
    await made.aclose()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "members", "param"),
    [
        (
            "/v1/messages",
            {"max_tokens": 9, "system": "s", "messages": [user(PNG)]},
            "messages[0].content[0]",
        ),
        (
            "/v1/messages",
            {"max_tokens": 9, "messages": [user(text("a"))], "output_config": {"effort": "low"}},
            "output_config.effort",
        ),
        ("/v1/responses", {"input": "a", "text": {"format": FORMAT}}, "text.format"),
        ("/v1/responses", {"input": "a", "max_output_tokens": -1}, "max_output_tokens"),
    ],
)
async def test_a_client_is_refused_in_its_own_words(
    edge: Edge, path: str, members: dict[str, Any], param: str, stream: bool
) -> None:
    body = json.dumps({"model": "served", "stream": stream, **members}).encode()
    answer = await edge.ask("POST", path, body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["message"].startswith(param)
    assert answer.headers.get("x-setpoint-attempts", "0") == "0", "nothing was dispatched"
