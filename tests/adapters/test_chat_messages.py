"""What is judged alike in every translation of a chat: refused where it stands, or left out by its name."""

from typing import Any

import msgspec
import pytest

from adapters.chat_messages import (
    answered_call,
    answered_id,
    calls_of,
    image_url_of,
    placed,
    refuse_part,
    refuse_what_none_translates,
    signed_details,
    text_of,
    words_of,
)
from adapters.chat_request import ImageUrl, Message, Part
from adapters.unsupported import Cannot
from contracts.errors import ClientFault, InvalidField, UnsupportedParameter

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def message(**told: Any) -> Message:
    return msgspec.json.decode(msgspec.json.encode({"role": "assistant", **told}), type=Message)


def strict() -> Cannot:
    return Cannot("an engine", "refuse")


def test_messages_come_with_their_places() -> None:
    messages = [message(content="a"), message(content="b")]
    assert [where for where, _ in placed(messages, strict())] == ["messages[0]", "messages[1]"]


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({"function_call": {"name": "f", "arguments": "{}"}}, "messages[1].function_call"),
        ({"audio": {"id": "audio-1"}}, "messages[1].audio"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[1].role"),
    ],
)
def test_what_none_translates_is_refused_also_where_others_are_dropped(
    told: dict[str, Any], param: str
) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        list(placed([message(), message(**told)], Cannot("an engine", "drop")))
    assert raised.value.param == param


def test_an_answer_that_comes_back_as_the_sdk_dumps_it_is_fine() -> None:
    dumped: dict[str, Any] = {
        "content": "a",
        "function_call": None,
        "audio": None,
        "annotations": [],
        "refusal": None,
    }
    refuse_what_none_translates(message(**dumped), "messages[0]", strict())


def test_a_name_is_refused_or_dropped() -> None:
    with pytest.raises(UnsupportedParameter):
        list(placed([message(name="Ada")], strict()))
    cannot = Cannot("an engine", "drop")
    list(placed([message(name="Ada")], cannot))
    assert cannot.dropped == ("messages.name",)


def test_text_and_refusals_are_words_and_nothing_else_is() -> None:
    assert text_of(Part(type="text", text="a"), "x", strict()) == "a"
    assert text_of(Part(type="refusal", refusal="no"), "x", strict()) == "no"
    with pytest.raises(UnsupportedParameter) as raised:
        text_of(Part(type="file"), "x", strict())
    assert (raised.value.param, "type file" in raised.value.message) == ("x", True)
    with pytest.raises(UnsupportedParameter):
        refuse_part(Part(type="file"), "x", strict())


def test_a_message_in_words_is_all_that_it_says() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert words_of(message(content=parts, refusal="no"), "m", strict()) == "abno"
    assert words_of(message(content="a", tool_calls=[]), "m", strict()) == "a"
    assert words_of(message(), "m", strict()) == ""


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({"tool_calls": [{"id": "a", "function": {"name": "f"}}]}, "m.tool_calls"),
        ({"role": "tool", "content": "4", "tool_call_id": "a"}, "m.role"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "video"}]}, "m.content[1]"),
    ],
)  # fmt: skip
def test_what_is_no_words_is_refused_where_it_stands(told: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        words_of(message(**told), "m", Cannot("an engine", "drop"))
    assert raised.value.param == param


def test_an_image_is_a_url_whichever_way_it_was_written() -> None:
    assert image_url_of("u", strict()) == image_url_of(ImageUrl(url="u", detail="auto"), strict())
    with pytest.raises(UnsupportedParameter):
        image_url_of(ImageUrl(url="u", detail="low"), strict())


def test_a_call_has_an_id_a_name_and_an_object() -> None:
    told = [{"id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}}]
    (call,) = calls_of(message(tool_calls=told), "messages[0]", strict())
    assert (call.id, call.name, bytes(call.arguments)) == ("a", "f", b'{"x": 1}')
    assert not list(calls_of(message(), "messages[0]", strict()))


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({"id": "a", "type": "custom"}, "messages[0].tool_calls[0]"),
        ({"function": {"name": "f"}}, "messages[0].tool_calls[0].id"),
        (
            {"id": "a", "function": {"name": "f", "arguments": "[]"}},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_is_no_call_is_told_with_its_place(told: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientFault) as raised:
        list(calls_of(message(tool_calls=[told]), "messages[0]", strict()))
    assert raised.value.param == param


def test_a_result_names_a_call_that_was_made() -> None:
    result = message(role="tool", tool_call_id="a", content="ok")
    assert answered_id(result, "messages[1]") == "a"
    assert answered_call(result, "messages[1]", {"a": "f"}) == ("a", "f")
    for wrong in (message(role="tool"), message(role="tool", tool_call_id="b")):
        with pytest.raises(InvalidField) as raised:
            answered_call(wrong, "messages[1]", {"a": "f"})
        assert raised.value.param == "messages[1].tool_call_id"


@pytest.mark.parametrize("details", [b"null", b'"x"', b"[5]", b"[" * 9999, b'[{"format":"b"}]'])
def test_only_what_was_signed_here_counts(details: bytes) -> None:
    assert signed_details(msgspec.Raw(details), "a") == []


def test_what_was_signed_here_is_kept_in_its_order() -> None:
    details = msgspec.Raw(b'[{"format":"a","n":1},{"format":"b"},{"format":"a","n":2}]')
    assert [entry["n"] for entry in signed_details(details, "a")] == [1, 2]
