"""A chat request read for dialects that speak otherwise: every value typed, or an error with its name."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.chat_request import (
    Function,
    Members,
    Message,
    Tool,
    ToolChoice,
    arguments_of,
    data_url,
    default_limit,
    effort_of,
    messages_of,
    schema_of,
    stop_of,
    token_limit_of,
    tool_choice_of,
    tools_of,
)
from contracts.errors import InvalidField

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def members(neutral: dict[str, Any] | None = None, **given: Any) -> Members:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in given.items()}
    return Members(raw, neutral or {})


def test_what_nobody_asked_for_is_left_and_null_is_not_there() -> None:
    given = members(a=1, b=None, c={"d": 2})
    assert given.read("a", int) == 1
    assert given.read("b", int) is None
    assert given.left() == ["c"]
    raw = given.raw("c")
    assert raw is not None
    assert bytes(raw) == b'{"d":2}'
    assert (given.raw("c"), given.left()) == (None, [])


@pytest.mark.parametrize(
    ("value", "left"),
    [(0, []), (0.0, []), (1, ["penalty"]), ("0", ["penalty"]), (False, ["penalty"])],
)
def test_a_value_that_asks_for_nothing_is_not_left(value: Any, left: list[str]) -> None:
    assert members({"penalty": 0}, penalty=value).left() == left


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("messages", [{"role": "user", "content": 5}], "messages[0].content"),
        ("messages", [{"role": "wizard", "content": "x"}], "messages[0].role"),
        ("tools", [{"type": "function", "function": {}}], "tools[0].function"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(name: str, value: Any, place: str) -> None:
    read = {"messages": messages_of, "tools": tools_of}[name]
    with pytest.raises(InvalidField) as raised:
        read(members(**{name: value}))
    assert raised.value.param == name
    assert f"`{place}" in raised.value.message


def test_nesting_without_end_is_the_clients_fault() -> None:
    deep = Members({"reasoning_effort": msgspec.Raw(b"[" * 100_000)}, {})
    with pytest.raises(InvalidField):
        effort_of(deep)


@pytest.mark.parametrize(
    ("content", "refusal", "kinds"),
    [
        (None, None, []),
        ("", None, []),
        ("a", None, ["text"]),
        ([{"type": "text", "text": ""}, {"type": "text", "text": "b"}], None, ["text"]),
        ([{"type": "image_url", "image_url": "http://x"}], "no", ["image_url", "refusal"]),
    ],
)
def test_content_is_parts_whichever_way_it_was_written(
    content: Any, refusal: str | None, kinds: list[str]
) -> None:
    told = {"role": "assistant", "content": content, "refusal": refusal}
    message = msgspec.json.decode(msgspec.json.encode(told), type=Message)
    assert [part.type for _, part in message.placed_parts("m")] == kinds


@pytest.mark.parametrize(
    ("asked", "stop"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"]), ([], [])]
)
def test_stop_is_a_list(asked: Any, stop: list[str]) -> None:
    assert stop_of(members(stop=asked)) == stop


TOOLS = [Tool(function=Function(name="f")), Tool(function=Function(name="g")), Tool(type="custom")]


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        (None, None),
        ("auto", ToolChoice(mode="auto")),
        ("required", ToolChoice(mode="required")),
        ({"type": "function", "function": {"name": "g"}}, ToolChoice(mode="named", name="g")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            ToolChoice(mode="required", allowed=frozenset({"f"})),
        ),
    ],
)
def test_a_tool_choice_is_one_of_four(asked: Any, choice: ToolChoice | None) -> None:
    assert tool_choice_of(members(tool_choice=asked), TOOLS) == choice


@pytest.mark.parametrize(
    "asked", ["any", 5, {"type": "custom"}, {"type": "function", "function": {"name": "h"}}]
)
def test_any_other_tool_choice_is_the_clients_fault(asked: Any) -> None:
    with pytest.raises(InvalidField) as raised:
        tool_choice_of(members(tool_choice=asked), TOOLS)
    assert raised.value.param == "tool_choice"


def test_without_tools_none_can_be_demanded() -> None:
    assert tool_choice_of(members(tool_choice="none"), []) == ToolChoice(mode="none")
    with pytest.raises(InvalidField):
        tool_choice_of(members(tool_choice="required"), [])


def test_a_format_is_text_any_json_or_a_schema_in_its_own_bytes() -> None:
    assert schema_of(members()) is None
    assert schema_of(members(response_format={"type": "text"})) is None
    assert schema_of(members(response_format={"type": "json_object"})) == "any_json"
    raw = msgspec.Raw(b'{"type":"json_schema","json_schema":{"schema":{ "maximum": 1e2 }}}')
    schema = schema_of(Members({"response_format": raw}, {}))
    assert isinstance(schema, msgspec.Raw)
    assert bytes(schema) == b'{ "maximum": 1e2 }'


@pytest.mark.parametrize(
    ("given", "cap", "limit"),
    [
        ({}, None, None),
        ({}, 5, 5),
        ({"max_tokens": 9}, None, 9),
        ({"max_tokens": 9, "max_completion_tokens": 4}, None, 4),
        ({"max_tokens": 9}, 5, 5),
        ({"max_tokens": -1}, None, None),
    ],
)
def test_of_several_limits_the_lowest_counts(
    given: dict[str, int], cap: int | None, limit: int | None
) -> None:
    assert token_limit_of(members(**given), cap) == limit


@pytest.mark.parametrize(("context", "limit"), [(None, 9), (100, 9), (10, 5), (1, 1)])
def test_a_limit_that_nobody_named_leaves_half_of_a_small_context(
    context: int | None, limit: int
) -> None:
    assert default_limit(9, context) == limit


@given(value=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3))
def test_arguments_keep_their_own_spelling(value: dict[str, Any]) -> None:
    text = msgspec.json.encode(value).decode().replace(":", " : ", 1)
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return  # the colon was inside a name
    assert bytes(arguments_of(Function(name="f", arguments=text), "x")) == text.encode()


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/png;base64,AA==", "image/png", "AA=="),
        ("DATA:Image/PNG;charset=x;BASE64,AA==", "image/png", "AA=="),
        ("data:;base64,AA==", "", "AA=="),
    ],
)
def test_a_data_url_is_read(url: str, media_type: str, data: str) -> None:
    held = data_url(url)
    assert held is not None
    assert (held.media_type, held.data) == (media_type, data)


@pytest.mark.parametrize("url", ["", "data:", "data:text/plain,hi", "https://e.example/a,b"])
def test_any_other_url_is_none(url: str) -> None:
    assert data_url(url) is None
