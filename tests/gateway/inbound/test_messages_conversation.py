"""Anthropic's turns as a chat's messages."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.anthropic_api import TokenCountRequest
from gateway.inbound.messages_conversation import chat_messages

pytestmark = pytest.mark.req("RUN-2", "RUN-3")


def messages(*turns: Any, system: Any = None) -> list[dict[str, Any]]:
    body = {"model": "m", "messages": turns, "system": system}
    asked = msgspec.json.decode(msgspec.json.encode(body), type=TokenCountRequest)
    told, places = chat_messages(asked.system, asked.messages)
    assert len(told) == len(places)
    return told


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else content}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}


PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1.50, "a": [1]}}


def result(content: Any = "ok", **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content, **members}


@pytest.mark.parametrize(
    "system", ["A\nB", [text("A"), text("B")], [text("A"), text(""), text("B")]]
)
def test_the_system_prompt_is_one_message(system: Any) -> None:
    told = messages(user("Hi"), system=system)
    assert told == [{"role": "system", "content": "A\nB"}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("system", [None, "", []])
def test_no_system_prompt_is_no_message(system: Any) -> None:
    assert messages(user("Hi"), system=system) == [{"role": "user", "content": "Hi"}]


@pytest.mark.req("ENG-7")
def test_a_line_that_is_new_with_every_request_does_not_spoil_the_cache() -> None:
    for nonce in ("a1", "b2"):
        billing = f"x-anthropic-billing-header: cc_version=2.1; cch={nonce};"
        for system in ([text(billing), text("A")], f"{billing}\nA"):
            assert messages(user("Hi"), system=system)[0] == {"role": "system", "content": "A"}


def test_all_that_is_text_is_a_string_and_pictures_are_parts() -> None:
    assert messages(user(text("a"), text("b")))[0]["content"] == "a\nb"
    assert messages(user(text("a"), PNG))[0]["content"] == [
        {"type": "text", "text": "a"},
        PNG_PART,
    ]
    url = {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}}
    (part,) = messages(user(url))[0]["content"]
    assert part == {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}


def test_documents_are_files_or_text() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AA=="}
    (part,) = messages(user({"type": "document", "source": pdf, "title": "a.pdf"}))[0]["content"]
    data = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}
    assert part == {"type": "file", "file": data}
    plain = {"type": "text", "media_type": "text/plain", "data": "long"}
    document = {"type": "document", "source": plain, "title": "T", "context": "C"}
    assert messages(user(document))[0]["content"] == "T\nC\nlong"
    parts = {"type": "content", "content": [text("a"), PNG]}
    assert messages(user({"type": "document", "source": parts}))[0]["content"][1] == PNG_PART


def test_a_search_result_is_text() -> None:
    found = {"type": "search_result", "source": "s", "title": "t", "content": [text("c")]}
    assert messages(user(found))[0]["content"] == "t\ns\nc"


def test_calls_and_results_keep_their_ids_and_order() -> None:
    told = messages(
        user("Hi"),
        {"role": "assistant", "content": [text("I call."), USE]},
        user(text("and"), result([text("x"), text("y")]), text("then")),
    )
    assert told[1]["content"] == "I call."
    (call,) = told[1]["tool_calls"]
    assert call["id"] == "t1"
    assert call["function"] == {"name": "f", "arguments": '{"b":1.5,"a":[1]}'}
    assert told[2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": "x\ny"},
        {"role": "user", "content": "and\nthen"},
    ]


@pytest.mark.parametrize("content", [None, "", []])
def test_an_empty_result_is_one(content: Any) -> None:
    told = messages({"role": "assistant", "content": [USE]}, user(result(content)))
    assert told[0]["content"] is None
    assert told[1:] == [{"role": "tool", "tool_call_id": "t1", "content": ""}]


def test_a_failure_says_so() -> None:
    assert messages(user(result("no", is_error=True)))[0]["content"] == "Error: no"


def test_a_picture_that_a_tool_returned_follows_as_the_users() -> None:
    told = messages(user(result([text("seen"), PNG]), text("So?")))
    assert told[0] == {"role": "tool", "tool_call_id": "t1", "content": "seen"}
    about, picture, rest = told[1]["content"]
    assert "t1" in about["text"]
    assert (picture, rest["text"]) == (PNG_PART, "So?")


def test_thinking_is_not_told() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    told = messages(user("Hi"), {"role": "assistant", "content": [thinking, hidden, text("a")]})
    assert told[1] == {"role": "assistant", "content": "a"}


def test_turns_of_one_role_are_one_message() -> None:
    told = messages(
        user("a"),
        user("b"),
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": [USE]},
        user(result()),
        {"role": "system", "content": "d"},
    )
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "system"]
    assert (told[0]["content"], told[1]["content"]) == ("a\nb", "c")
    assert len(told[1]["tool_calls"]) == 1


WORDS = st.text("ab", max_size=2)
USER_BLOCKS = st.lists(st.sampled_from([text("a"), text(""), PNG, result()]), max_size=3)
ASSISTANT_BLOCKS = st.lists(st.sampled_from([text("a"), text(""), USE]), max_size=3)
TURNS = st.lists(
    st.one_of(
        st.builds(lambda c: {"role": "user", "content": c}, st.one_of(WORDS, USER_BLOCKS)),
        st.builds(
            lambda c: {"role": "assistant", "content": c}, st.one_of(WORDS, ASSISTANT_BLOCKS)
        ),
        st.builds(lambda c: {"role": "system", "content": c}, WORDS),
    ),
    min_size=1,
    max_size=5,
)


@given(turns=TURNS)
def test_whatever_is_said_is_a_chat(turns: list[dict[str, Any]]) -> None:
    told = messages(*turns)
    assert told
    roles = [message["role"] for message in told]
    assert all(a != b for a, b in itertools.pairwise(roles) if a in ("user", "assistant"))
    assert all(message["content"] is not None or message["tool_calls"] for message in told)
    blocks = [b for t in turns if isinstance(t["content"], list) for b in t["content"]]
    for kind, found in (
        ("tool_result", roles.count("tool")),
        ("tool_use", sum(len(message.get("tool_calls", ())) for message in told)),
    ):
        assert sum(block["type"] == kind for block in blocks) == found
