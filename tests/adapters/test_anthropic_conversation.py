"""Messages become turns: every tool result where its call was, nothing empty, nothing lost without a word."""

from typing import Any

import msgspec
import pytest

from adapters.anthropic_conversation import SIGNED_BY, answers_without_thinking, conversation
from adapters.chat_request import Message
from adapters.unsupported import Cannot
from contracts.errors import InvalidField, UnsupportedParameter

pytestmark = pytest.mark.req("RUN-1", "RUN-2")
PDF = "data:application/pdf;base64,JVBERi0="


def turned(
    *messages: dict[str, Any], cannot: Cannot | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    read = msgspec.json.decode(msgspec.json.encode(messages), type=list[Message])
    system, turns = conversation(read, cannot or Cannot("anthropic", "refuse"))
    return system, msgspec.json.decode(msgspec.json.encode(turns))


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def called(*ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "f"}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_system_messages_are_gathered_at_the_beginning_in_their_order() -> None:
    system, turns = turned(
        {"role": "system", "content": "One."},
        user("Hi"),
        {"role": "developer", "content": [text("Two."), text("")]},
    )
    assert system == [text("One."), text("Two.")]
    assert turns == [{"role": "user", "content": [text("Hi")]}]


def test_turns_of_one_role_become_one() -> None:
    _, turns = turned(
        user("A"), user("B"), {"role": "assistant", "content": "C"}, called("x"), result("x")
    )
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == [text("A"), text("B")]
    assert [block["type"] for block in turns[1]["content"]] == ["text", "tool_use"]


def test_results_of_parallel_calls_share_a_turn_and_come_before_what_the_user_adds() -> None:
    _, turns = turned(user("Hi"), called("x", "y"), result("y"), result("x", ""), user("So?"))
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "y", "content": [text("ok")]},
        {"type": "tool_result", "tool_use_id": "x"},
        text("So?"),
    ]


def test_an_id_that_another_model_made_is_the_same_wherever_it_stands() -> None:
    _, turns = turned(user("Hi"), called("functions.f:0"), result("functions.f:0"))
    assert turns[1]["content"][0]["id"] == "functions_f_0"
    assert turns[2]["content"][0]["tool_use_id"] == "functions_f_0"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [('{"a": 1}', {"a": 1}), ("", {}), (" ", {}), (None, {}), ({"a": [1]}, {"a": [1]})],
)
def test_arguments_become_an_object(arguments: Any, given: dict[str, Any]) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": arguments}}
    _, turns = turned(user("Hi"), {"role": "assistant", "tool_calls": [call]}, result("x"))
    block = {"type": "tool_use", "id": "x", "name": "f", "input": given}
    assert turns[1]["content"] == [block]


@pytest.mark.parametrize("arguments", ["{", "[1]", '"a"', "{} {}"])
def test_arguments_that_are_no_object_are_the_clients_fault(arguments: str) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": arguments}}
    with pytest.raises(InvalidField) as raised:
        turned(user("Hi"), {"role": "assistant", "tool_calls": [{"id": "w"} | call]})
    assert raised.value.param == "messages[1].tool_calls[0].function.arguments"


def test_an_assistants_refusal_is_part_of_what_was_said() -> None:
    _, turns = turned(user("Hi"), {"role": "assistant", "content": None, "refusal": "No."})
    assert turns[1] == {"role": "assistant", "content": [text("No.")]}


def test_a_turn_without_anything_is_no_turn() -> None:
    _, turns = turned(user("A"), {"role": "assistant", "content": ""}, user("B"))
    assert turns == [{"role": "user", "content": [text("A"), text("B")]}]


def test_white_space_alone_is_no_text() -> None:
    """Anthropic refuses it, and so does every later request with the same history."""
    system, turns = turned(
        {"role": "system", "content": " "},
        user([text("\n"), text(" A ")]),
        called("x", content="\n\n"),
        result("x", " "),
    )
    assert system == []
    assert turns[0]["content"] == [text(" A ")]
    assert [block["type"] for block in turns[1]["content"]] == ["tool_use"]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "x"}]


def test_a_file_and_an_image_become_blocks() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AA=="}}
    file = {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}
    _, turns = turned(user([image, file, {**text("?"), "cache_control": {"type": "ephemeral"}}]))
    assert turns[0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/webp", "data": "AA=="},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {**text("?"), "cache_control": {"type": "ephemeral"}},
    ]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {}}, "messages[0].content[0]"),
        ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}}, "image_url"),
        ({"type": "image_url", "image_url": {"url": "data:,text"}}, "image_url"),
        ({"type": "image_url", "image_url": {"url": "iVBORw=="}}, "image_url"),
        ({"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}}, "image_url"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file"),
        ({"type": "file", "file": {"file_data": "data:text/csv;base64,AA=="}}, "file"),
    ],
)
def test_a_part_that_anthropic_cannot_read_is_refused_also_where_others_are_dropped(
    part: dict[str, Any], param: str
) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        turned(user([part]), cannot=Cannot("anthropic", "drop"))
    assert raised.value.param is not None
    assert raised.value.param.startswith("messages[0].content[0]")
    assert raised.value.param.endswith(param)


def test_a_part_keeps_its_place_where_blank_ones_are_left_out() -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        turned(user([text(""), text(" "), {"type": "video"}]))
    assert raised.value.param == "messages[0].content[2]"
    with pytest.raises(UnsupportedParameter) as raised:
        turned({"role": "system", "content": [text("A"), {"type": "video"}]}, user("Hi"))
    assert raised.value.param == "messages[0].content[1]"


def test_a_resolution_that_was_asked_for_is_not_ignored_in_silence() -> None:
    image = {"url": "https://e.example/a.png", "detail": "high"}
    message = user([{"type": "image_url", "image_url": image}], name="Ada")
    cannot = Cannot("anthropic", "drop")
    turned(message, cannot=cannot)
    assert cannot.dropped == ("messages.name", "messages.image_url.detail")
    with pytest.raises(UnsupportedParameter):
        turned(message)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "ok"}, "messages[1].tool_call_id"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
            "messages[1].tool_calls[0].id",
        ),
    ],
)
def test_a_call_or_a_result_without_an_id_is_the_clients_fault(
    message: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidField) as raised:
        turned(user("Hi"), message)
    assert raised.value.param == param


@pytest.mark.parametrize(
    "message",
    [
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "tool_calls": [{"id": "x", "type": "custom"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "audio": {"id": "audio-1"}},
    ],
)
def test_what_only_openai_has_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        turned(user("Hi"), message, cannot=Cannot("anthropic", "drop"))
    assert raised.value.param is not None
    assert raised.value.param.startswith("messages[1].")


# -- thinking that comes back -----------------------------------------------------------------

SIGNED = {"format": SIGNED_BY, "type": "reasoning.text", "text": "Hm.", "signature": "s"}
HIDDEN = {"format": SIGNED_BY, "type": "reasoning.encrypted", "data": "d"}


def test_thinking_that_anthropic_signed_goes_back_first_and_unchanged() -> None:
    said = called("x", content="Wait.", reasoning_details=[SIGNED, HIDDEN])
    _, turns = turned(user("Hi"), said, result("x"))
    assert turns[1]["content"][:3] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        text("Wait."),
    ]


@pytest.mark.parametrize(
    "details",
    [
        None,
        "text",
        [],
        [5],
        [{"format": "openai-responses-v1", "type": "reasoning.encrypted", "data": "d"}],
        [{"format": SIGNED_BY, "type": "reasoning.text", "text": "unsigned"}],
        [{"format": SIGNED_BY, "type": "reasoning.text", "text": 5, "signature": "s"}],
    ],
)
def test_what_anthropic_did_not_sign_does_not_go_back(details: Any) -> None:
    _, turns = turned(user("Hi"), called("x", reasoning_details=details), result("x"))
    assert [block["type"] for block in turns[1]["content"]] == ["tool_use"]


def test_a_call_whose_thinking_is_lost_is_noticed_while_it_matters() -> None:
    bare = [user("Hi"), called("x"), result("x")]
    assert answers_without_thinking(turned(*bare)[1])
    assert not answers_without_thinking(
        turned(user("Hi"), called("x", reasoning_details=[SIGNED]), result("x"))[1]
    )
    later = [*bare, {"role": "assistant", "content": "Done."}, user("And?")]
    assert not answers_without_thinking(turned(*later)[1])
    assert not answers_without_thinking(turned(user("Hi"))[1])
    assert not answers_without_thinking(
        turned(user("Hi"), {"role": "assistant", "content": "T"})[1]
    )
