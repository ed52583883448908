"""The input of Responses as a chat's messages."""

import json
from typing import Any

import msgspec
import pytest

from contracts.responses_api import InputItem
from gateway.inbound.responses_conversation import chat_messages

pytestmark = pytest.mark.req("RUN-2", "RUN-3")


def messages(*items: Any, instructions: str | None = None) -> list[dict[str, Any]]:
    given = msgspec.json.decode(json.dumps(items), type=list[InputItem])
    told, places = chat_messages(instructions, given)
    assert len(told) == len(places)
    return told


def message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def call(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


IMAGE = {"type": "input_image", "image_url": "https://x.org/a.png", "detail": "low"}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}}


def test_text_alone_is_the_users() -> None:
    told, _ = chat_messages("Be brief.", "Hi")
    assert told == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_parts_of_text_are_one_and_others_stay_parts() -> None:
    texts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert messages(message("user", texts)) == [{"role": "user", "content": "a\nb"}]
    data = {"type": "input_file", "file_data": "data:application/pdf;base64,A", "filename": "a.pdf"}
    (told,) = messages(message("user", [texts[0], IMAGE, data]))
    assert told["content"] == [
        {"type": "text", "text": "a"},
        IMAGE_PART,
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,A", "filename": "a.pdf"},
        },
    ]
    assert messages(message("user", [{"type": "input_image", "image_url": "u"}]))[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "u"}}
    ]


def test_what_was_answered_before_is_the_assistants_with_its_calls() -> None:
    said = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]
    told = messages(
        message("developer", "d"),
        {"type": "reasoning", "id": "rs_1", "summary": []},
        message("assistant", said),
        call("c1"),
        call("c2"),
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        {"type": "function_call_output", "call_id": "c2", "output": []},
        call("c3"),
    )
    assert [m["role"] for m in told] == ["developer", "assistant", "tool", "tool", "assistant"]
    assert told[1]["content"] == "a\nno"
    assert [c["id"] for c in told[1]["tool_calls"]] == ["c1", "c2"]
    assert (told[2]["content"], told[3]["content"]) == ("ok", "")
    assert told[4]["content"] is None


def test_a_picture_that_a_function_returned_follows_as_the_users() -> None:
    output = [{"type": "input_text", "text": "seen"}, IMAGE]
    told = messages({"type": "function_call_output", "call_id": "c1", "output": output})
    assert told[0] == {"role": "tool", "tool_call_id": "c1", "content": "seen"}
    assert told[1]["role"] == "user"
    assert told[1]["content"][1] == IMAGE_PART
