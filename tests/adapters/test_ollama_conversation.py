"""Messages become Ollama's, one for one, and nothing is lost without a word."""

from typing import Any

import msgspec
import pytest

from adapters.chat_request import Message
from adapters.ollama_conversation import conversation
from adapters.unsupported import Cannot
from contracts.errors import InvalidField, UnsupportedParameter

pytestmark = pytest.mark.req("RUN-1", "RUN-2")
PNG = "data:image/png;base64,iVBORw=="


def told(*messages: dict[str, Any], cannot: Cannot | None = None) -> list[dict[str, Any]]:
    read = msgspec.json.decode(msgspec.json.encode(messages), type=list[Message])
    made = conversation(read, cannot or Cannot("ollama", "refuse"))
    return msgspec.json.decode(msgspec.json.encode(made))


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def called(*ids: str) -> dict[str, Any]:
    calls = [
        {"id": i, "type": "function", "function": {"name": f"f_{i}", "arguments": '{"a": 1}'}}
        for i in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_every_message_has_its_place() -> None:
    assert told(
        {"role": "system", "content": "One."},
        {"role": "developer", "content": "Two."},
        user([text("A"), text(""), text("B")]),
        {"role": "assistant", "content": "C", "refusal": "No."},
    ) == [
        {"role": "system", "content": "One."},
        {"role": "system", "content": "Two."},
        {"role": "user", "content": "A\nB"},
        {"role": "assistant", "content": "C\nNo."},
    ]


def test_calls_have_objects_and_results_name_them() -> None:
    assert told(user("A"), called("x", "y"), result("y"), result("x", [text("1")]))[1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "x", "function": {"index": 0, "name": "f_x", "arguments": {"a": 1}}},
                {"id": "y", "function": {"index": 1, "name": "f_y", "arguments": {"a": 1}}},
            ],
        },
        {"role": "tool", "content": "ok", "tool_call_id": "y", "tool_name": "f_y"},
        {"role": "tool", "content": "1", "tool_call_id": "x", "tool_name": "f_x"},
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_earlier_thinking_goes_back(name: str) -> None:
    """Models that call tools while they think go on from there."""
    (said,) = told({**called("x"), name: "Hm."})
    assert said["thinking"] == "Hm."


@pytest.mark.parametrize("reasoning", [None, "", 5, {"effort": "low"}])
def test_what_is_no_thinking_does_not_go_back(reasoning: Any) -> None:
    assert told({"role": "assistant", "content": "A", "reasoning": reasoning}) == [
        {"role": "assistant", "content": "A"}
    ]


def test_only_the_assistant_thinks() -> None:
    assert told(user("A", reasoning="Hm.")) == [user("A")]


def test_images_are_bare_base64() -> None:
    assert told(user([text("A"), image(PNG), {"type": "image_url", "image_url": PNG}])) == [
        {"role": "user", "content": "A", "images": ["iVBORw==", "iVBORw=="]}
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user([image("https://e.example/a.png")]), "messages[0].content[0].image_url"),
        (user([text("a"), {"type": "file", "file": {}}]), "messages[0].content[1]"),
        (user([text(""), {"type": "file", "file": {}}]), "messages[0].content[1]"),
        (user([{"type": "input_audio", "input_audio": {}}]), "messages[0].content[0]"),
        ({"role": "system", "content": [image(PNG)]}, "messages[0].content[0]"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
        ({"role": "assistant", "tool_calls": [{"type": "custom"}]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages[0].function_call"),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio"),
    ],
)
def test_what_has_no_place_is_refused_where_it_stands(message: dict[str, Any], param: str) -> None:
    for choice in ("refuse", "drop"):
        with pytest.raises(UnsupportedParameter) as raised:
            told(message, cannot=Cannot("ollama", choice))
        assert raised.value.param == param


def test_names_and_details_of_images_may_be_dropped() -> None:
    cannot = Cannot("ollama", "drop")
    told(user([image(PNG, detail="high")], name="Ann"), cannot=cannot)
    assert cannot.dropped == ("messages.name", "messages.image_url.detail")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([result("")], "messages[0].tool_call_id"),
        ([called("x"), result("y")], "messages[1].tool_call_id"),
        (
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}],
            "messages[0].tool_calls[0].id",
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{oops"}}],
                }
            ],
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_is_wrong_is_named(messages: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidField) as raised:
        told(*messages)
    assert raised.value.param == param
