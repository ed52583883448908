"""vLLM's bytes: a stream and a document of one generation tell the same, and its clients can read them."""

import base64
import json
import struct
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from adapters.fakellmd import answers
from adapters.fakellmd.answers import StreamWriter
from adapters.fakellmd.bodies import Choice, Embedding, Generation
from adapters.fakellmd.settings import LlmdSettings, ServedModel
from adapters.fakellmd.text import FinishReason, Script
from adapters.sse import SSEDecoder

pytestmark = pytest.mark.req("INT-9", "RUN-3")
CREATED_S = 1_700_000_000
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)


@st.composite
def scripts(draw: st.DrawFn, *, tools: bool) -> Script:
    pieces = draw(st.lists(TEXT, min_size=1, max_size=5))
    reason: FinishReason
    if tools and draw(st.booleans()):
        reason = draw(st.sampled_from(["tool_calls", "length"]))
        return Script(pieces=("", *pieces), finish_reason=reason, tool_name="look_up")
    stop = draw(st.none() | TEXT)
    reason = draw(st.sampled_from(["stop", "length"]))
    return Script(pieces=tuple(pieces), finish_reason=reason, stop_reason=stop)


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    operation: Literal["chat", "completion"] = draw(st.sampled_from(["chat", "completion"]))
    choices = st.builds(Choice, st.integers(1, 99), scripts(tools=operation == "chat"))
    return Generation(
        operation=operation,
        model="m",
        choices=tuple(draw(st.lists(choices, min_size=1, max_size=3))),
        prompt_tokens=draw(st.integers(1, 99)),
        stream=True,
        include_usage=draw(st.booleans()),
        priority=0,
    )


def streamed(asked: Generation, order: list[int]) -> list[Any]:
    """The stream's events, its tokens in the order of choices that `order` gives."""
    writer = StreamWriter(asked, "id", CREATED_S)
    said = [0] * len(asked.choices)
    body = b""
    for number in order:
        said[number] += 1
        body += writer.token(number, said[number])
    parser = SSEDecoder()
    events = parser.feed(body + writer.usage() + answers.DONE)
    assert parser.close() == []
    *chunks, last = [event.data for event in events]
    assert last == b"[DONE]"
    return [json.loads(chunk) for chunk in chunks]


def turns(asked: Generation) -> list[int]:
    return [n for n, c in enumerate(asked.choices) for _ in c.script.pieces]


@given(asked=generations(), data=st.data())
def test_a_stream_spells_its_document(asked: Generation, data: st.DataObject) -> None:
    events = streamed(asked, data.draw(st.permutations(turns(asked))))
    whole = json.loads(answers.document(asked, "id", CREATED_S))
    parts: list[list[Any]] = [[] for _ in asked.choices]
    for event in events:
        for part in event["choices"]:
            parts[part["index"]].append(part)
    for mine, choice in zip(parts, whole["choices"], strict=True):
        *before, last = mine
        assert all(part["finish_reason"] is None for part in before)
        assert last["finish_reason"] == choice["finish_reason"]
        assert last["stop_reason"] == choice["stop_reason"]
        if asked.operation == "completion":
            assert "".join(part["text"] for part in mine) == choice["text"]
            continue
        deltas = [part["delta"] for part in mine]
        assert deltas[0] == {"role": "assistant", "content": ""}
        assert not any("role" in delta for delta in deltas[1:])
        text = "".join(delta.get("content") or "" for delta in deltas)
        assert text == (choice["message"]["content"] or "")
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        arguments = "".join(call["function"].get("arguments", "") for call in calls)
        names = [call["function"]["name"] for call in calls if "name" in call["function"]]
        ids = [call["id"] for call in calls if "id" in call]
        called = choice["message"].get("tool_calls", [])
        assert [(i, n, arguments) for i, n in zip(ids, names, strict=True)] == [
            (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in called
        ]


@given(asked=generations())
def test_every_chunk_is_of_one_answer_and_openais_types_read_it(asked: Generation) -> None:
    events = streamed(asked, turns(asked))
    whole = json.loads(answers.document(asked, "id", CREATED_S))
    for event in events:
        shared = ("id", "created", "model")
        assert {name: event[name] for name in shared} == {name: whole[name] for name in shared}
        if asked.operation == "chat":
            ChatCompletionChunk.model_validate(event)
    (ChatCompletion if asked.operation == "chat" else Completion).model_validate(whole)


@given(asked=generations())
def test_usage_is_the_last_word_and_said_only_where_it_was_asked_for(asked: Generation) -> None:
    events = streamed(asked, turns(asked))
    whole = json.loads(answers.document(asked, "id", CREATED_S))["usage"]
    told = [event for event in events if event.get("usage")]
    assert told == (events[-1:] if asked.include_usage else [])
    tokens = sum(len(choice.script.pieces) for choice in asked.choices)
    assert whole["completion_tokens"] == answers.completion_tokens(asked.choices) == tokens
    assert whole["total_tokens"] == asked.prompt_tokens + tokens
    for event in told:
        assert event["choices"] == []
        assert event["usage"].items() <= whole.items()


def test_a_token_that_is_held_back_sends_nothing_and_the_last_one_always_does() -> None:
    script = Script(pieces=("", "", ""), finish_reason="stop", stop_reason="x")
    roles: dict[Literal["chat", "completion"], int] = {"chat": 1, "completion": 0}
    for operation, role in roles.items():
        asked = Generation(
            operation=operation,
            model="m",
            choices=(Choice(1, script),),
            prompt_tokens=1,
            stream=True,
            include_usage=False,
            priority=0,
        )
        writer = StreamWriter(asked, "id", CREATED_S)
        frames = [writer.token(0, index) for index in (1, 2, 3)]
        assert [frame.count(b"data: ") for frame in frames] == [role, 0, 1]
        assert b'"stop_reason":"x"' in frames[2]


def test_the_calls_of_two_choices_have_ids_of_their_own() -> None:
    script = Script(pieces=("", "{}"), finish_reason="tool_calls", tool_name="f")
    asked = Generation(
        operation="chat",
        model="m",
        choices=(Choice(1, script), Choice(1, script)),
        prompt_tokens=1,
        stream=False,
        include_usage=False,
        priority=0,
    )
    choices = json.loads(answers.document(asked, "id", CREATED_S))["choices"]
    assert len({choice["message"]["tool_calls"][0]["id"] for choice in choices}) == 2


@given(texts=st.lists(TEXT, min_size=1, max_size=3), dimensions=st.integers(1, 16))
def test_both_encodings_of_an_embedding_are_the_same_numbers(
    texts: list[str], dimensions: int
) -> None:
    def asked(base64: bool) -> Any:
        embedding = Embedding(
            model="m", texts=tuple(texts), dimensions=dimensions, base64=base64, prompt_tokens=5
        )
        body = json.loads(answers.embeddings(embedding, "id", CREATED_S))
        CreateEmbeddingResponse.model_validate(body if not base64 else {**body, "data": []})
        assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5, "completion_tokens": 0}
        assert [item["index"] for item in body["data"]] == list(range(len(texts)))
        return [item["embedding"] for item in body["data"]]

    for numbers, packed in zip(asked(False), asked(True), strict=True):
        assert list(struct.unpack(f"<{dimensions}f", base64.b64decode(packed))) == numbers


def test_every_model_is_listed_with_its_longest_context() -> None:
    models = tuple(ServedModel(name=name) for name in ("a", "b"))
    settings = LlmdSettings(models=models, max_model_len=512)
    listed = json.loads(answers.model_list(settings, CREATED_S))["data"]
    assert [(m["id"], m["max_model_len"], m["created"]) for m in listed] == [
        ("a", 512, CREATED_S),
        ("b", 512, CREATED_S),
    ]
