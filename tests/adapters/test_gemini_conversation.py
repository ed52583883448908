"""Messages become turns: results beside their calls, signatures where they were, nothing lost without a word."""

from typing import Any

import msgspec
import pytest

from adapters.chat_request import Message
from adapters.gemini_conversation import SIGNED_BY, UNSIGNED, conversation
from adapters.unsupported import Cannot
from contracts.errors import InvalidField, UnsupportedParameter

pytestmark = pytest.mark.req("RUN-1", "RUN-2")
PDF = "data:application/pdf;base64,JVBERi0="
PNG = "data:image/png;base64,iVBORw=="


def turned(
    *messages: dict[str, Any], cannot: Cannot | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    read = msgspec.json.decode(msgspec.json.encode(messages), type=list[Message])
    system, turns = conversation(read, cannot or Cannot("gemini", "refuse"))
    return system, msgspec.json.decode(msgspec.json.encode(turns))


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def audio(kind: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": "AAAA", "format": kind}}


def called(*ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": f"f_{i}"}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def function_call(call_id: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"id": call_id, "name": f"f_{call_id}", "args": {}}, **more}


def response(call_id: str, said: str = "ok", **more: Any) -> dict[str, Any]:
    told = {"id": call_id, "name": f"f_{call_id}", "response": {"output": said}}
    return {"functionResponse": {**told, **more}}


def signed(*entries: tuple[str | None, str]) -> list[dict[str, Any]]:
    return [
        {
            "type": "reasoning.encrypted",
            "format": SIGNED_BY,
            "index": i,
            "data": data,
            **({"id": call_id} if call_id else {}),
        }
        for i, (call_id, data) in enumerate(entries)
    ]


def test_system_messages_are_gathered_at_the_beginning_in_their_order() -> None:
    system, turns = turned(
        {"role": "system", "content": "One."},
        user("Hi"),
        {"role": "developer", "content": [text("Two."), text("")]},
    )
    assert system == [{"text": "One."}, {"text": "Two."}]
    assert turns == [{"role": "user", "parts": [{"text": "Hi"}]}]


def test_turns_of_one_role_become_one_but_results_stand_apart() -> None:
    _, turns = turned(
        user("A"),
        user("B"),
        {"role": "assistant", "content": "C"},
        called("x", "y"),
        result("x"),
        result("y", [text("1"), text("2")]),
        user("D"),
    )
    assert turns == [
        {"role": "user", "parts": [{"text": "A"}, {"text": "B"}]},
        {
            "role": "model",
            "parts": [
                {"text": "C"},
                function_call("x", thoughtSignature=UNSIGNED),
                function_call("y"),
            ],
        },
        {"role": "user", "parts": [response("x"), response("y", "12")]},
        {"role": "user", "parts": [{"text": "D"}]},
    ]


def test_a_signature_goes_back_to_the_call_it_came_with() -> None:
    details = signed(("x", "c2lnMQ=="), (None, "c2lnMg=="))
    _, turns = turned(
        user("A"),
        called("x", "y", content="So:", reasoning_details=details),
        result("x"),
        result("y"),
    )
    assert turns[1]["parts"] == [
        {"text": "So:"},
        {"text": "", "thoughtSignature": "c2lnMg=="},
        function_call("x", thoughtSignature="c2lnMQ=="),
        function_call("y"),
    ]


@pytest.mark.parametrize(
    "details",
    [
        None,
        "text",
        [{"format": "anthropic-claude-v1", "id": "x", "data": "c2ln"}],
        [{"format": SIGNED_BY, "id": "x", "data": 5}],
        signed(("another", "c2ln")),
    ],
)
def test_calls_that_nobody_signed_for_are_sent_all_the_same(details: Any) -> None:
    _, turns = turned(user("A"), called("x", reasoning_details=details), result("x"))
    assert turns[1]["parts"] == [function_call("x", thoughtSignature=UNSIGNED)]


def test_images_and_files_are_inline_or_by_address() -> None:
    _, turns = turned(
        user(
            [
                image(PNG),
                {"type": "image_url", "image_url": "https://e.example/a.JPG?x=1"},
                image("https://e.example/a"),
                image("gs://bucket/a.webp"),
                {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            ]
        )
    )
    assert turns[0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        {"fileData": {"fileUri": "https://e.example/a.JPG?x=1", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://e.example/a"}},
        {"fileData": {"fileUri": "gs://bucket/a.webp", "mimeType": "image/webp"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
    ]


@pytest.mark.parametrize(("kind", "media_type"), [("wav", "audio/wav"), ("mp3", "audio/mp3")])
def test_what_was_spoken_is_inline(kind: str, media_type: str) -> None:
    _, turns = turned(user([audio(kind), text("What is said?")]))
    assert turns[0]["parts"] == [
        {"inlineData": {"mimeType": media_type, "data": "AAAA"}},
        {"text": "What is said?"},
    ]


def test_a_signature_may_come_back_as_googles_own_layer_writes_it() -> None:
    calls = called("x", "y")
    extra = {"google": {"thought_signature": "c2lnMQ=="}}
    calls["tool_calls"][0]["extra_content"] = extra
    calls["tool_calls"][1]["extra_content"] = {"google": {"thought_signature": 5}}
    _, turns = turned(user("A"), calls, result("x"), result("y"))
    assert turns[1]["parts"] == [
        function_call("x", thoughtSignature="c2lnMQ=="),
        function_call("y"),
    ]


def test_a_result_may_have_an_image_beside_its_text() -> None:
    _, turns = turned(user("A"), called("x"), result("x", [text("see"), image(PNG)]))
    inline = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}
    assert turns[2]["parts"] == [response("x", "see", parts=[inline])]


def test_a_refusal_is_what_the_model_said() -> None:
    _, turns = turned(user("A"), {"role": "assistant", "content": None, "refusal": "No."})
    assert turns[1] == {"role": "model", "parts": [{"text": "No."}]}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([user([{"type": "input_audio"}])], "messages[0].content[0].input_audio"),
        (
            [user([{"type": "input_audio", "input_audio": {}}])],
            "messages[0].content[0].input_audio",
        ),
        ([user([audio("pcm16")])], "messages[0].content[0].input_audio"),
        ([user([image("http://e.example/a.png")])], "messages[0].content[0].image_url"),
        ([user([image("/tmp/a.png")])], "messages[0].content[0].image_url"),
        ([user([{"type": "video_url"}])], "messages[0].content[0]"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages[0].function_call"),
        ([{"role": "assistant", "audio": {"id": "a"}}], "messages[0].audio"),
        ([user([image("data:image/png,raw")])], "messages[0].content[0].image_url"),
        ([user([{"type": "file", "file": {"file_id": "f"}}])], "messages[0].content[0].file"),
        ([{"role": "function", "name": "f", "content": "x"}], "messages[0].role"),
        (
            [user("A"), called("x"), result("x", [image("https://e.example")])],
            "messages[2].content",
        ),
        ([{"role": "system", "content": [image(PNG)]}], "messages[0].content[0]"),
        ([user([text(""), {"type": "file"}])], "messages[0].content[1].file"),
    ],
)
def test_what_has_no_place_is_refused_where_it_stands(
    messages: list[dict[str, Any]], param: str
) -> None:
    for choice in ("refuse", "drop"):
        with pytest.raises(UnsupportedParameter) as raised:
            turned(*messages, cannot=Cannot("gemini", choice))
        assert raised.value.param == param


def test_names_and_details_of_images_may_be_dropped() -> None:
    cannot = Cannot("gemini", "drop")
    turned(user([image(PNG, detail="high")], name="Ann"), cannot=cannot)
    assert cannot.dropped == ("messages.name", "messages.image_url.detail")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "system", "content": "x"}], "messages"),
        (
            [user("A"), {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}],
            "messages[1].tool_calls[0].id",
        ),
        ([user("A"), {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
        ([user("A"), called("x"), result("y")], "messages[2].tool_call_id"),
    ],
)
def test_what_is_wrong_is_named(messages: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidField) as raised:
        turned(*messages)
    assert raised.value.param == param
