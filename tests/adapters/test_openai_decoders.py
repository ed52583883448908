"""OpenAI-style answers to events: real servers' transcripts, providers' recordings, broken streams."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from adapters.dialect import WireHead
from adapters.openai import OpenAIDialect
from adapters.openai_decoders import DocumentDecoder
from adapters.registry import dialect_for
from adapters.sse import MAX_EVENT_BYTES
from adapters.whole_body import MAX_DOCUMENT_BYTES
from contracts.errors import StreamBroken
from contracts.events import Delta, Document, End, Fault, Finish, Opened, Usage, UsageReport
from gateway.answers import Fold, Identity, StreamWriter

DATA = Path(__file__).parent / "data"
OPENAI = OpenAIDialect()

pytestmark = pytest.mark.req("RUN-1", "RUN-3")

OTHERWISE = frozenset({"anthropic", "gemini", "ollama", "tgi", "triton"})
"""Folders of recordings of those who do not speak as OpenAI does."""

# Streams that are whole, and what their providers said in them.
STREAMS = sorted(
    path.relative_to(DATA).as_posix()
    for path in DATA.rglob("*.sse")
    if path.parent.name not in OTHERWISE
    and path.stem
    not in (
        "stream_test_openrouter_stream_error_baafd4",
        "stream_test_tool_use_failed_error_streaming_25e988",
        "vllm_engine_killed",
    )
)
DOCUMENTS = sorted(
    path.relative_to(DATA).as_posix()
    for pattern in (
        "recordings/*/json_*.json",
        "transcripts/*_chat.json",
        "transcripts/*_tools.json",
    )
    for path in DATA.glob(pattern)
    if not path.name.endswith(".meta.json")
    and path.parent.name not in OTHERWISE | {"openai_embeddings"}
)


def operation_of(name: str) -> str:
    return "completion" if "completion" in name.lower() and "openai_chat" not in name else "chat"


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    """Naive on purpose, and not the decoder under test: every `data:` line but `[DONE]`."""
    lines = [line.removeprefix("data:").strip() for line in body.decode().split("\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def flat(content: Any) -> tuple[str, str]:
    """Text and thinking of a `content`, which is a list of parts at Mistral's reasoning models."""
    if not isinstance(content, list):
        return content or "", ""
    said = "".join(part["text"] for part in content if part["type"] == "text")
    inner = [p for part in content if part["type"] == "thinking" for p in part["thinking"]]
    return said, "".join(p["text"] for p in inner)


def reference(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """What the raw JSON says, folded with no care for anything unusual."""
    told: dict[str, Any] = {"text": "", "reasoning": "", "calls": {}, "finish": None, "usage": None}
    for chunk in chunks:
        for choice in chunk.get("choices") or []:
            piece = choice.get("delta") or choice.get("message") or {}
            said, thought = flat(piece.get("content"))
            told["text"] += said + (choice.get("text") or "")
            told["reasoning"] += thought
            told["reasoning"] += piece.get("reasoning_content") or piece.get("reasoning") or ""
            for position, call in enumerate(piece.get("tool_calls") or []):
                entry = told["calls"].setdefault(call.get("index", position), ["", "", ""])
                entry[0] = entry[0] or call.get("id") or ""
                entry[1] = entry[1] or call["function"].get("name") or ""
                entry[2] += call["function"].get("arguments") or ""
            told["finish"] = choice.get("finish_reason") or told["finish"]
        told["usage"] = chunk.get("usage") or told["usage"]
    told["calls"] = [tuple(entry) for entry in told["calls"].values()]
    return told


def told_by(events) -> dict[str, Any]:
    deltas = [event for event in events if isinstance(event, Delta)]
    calls: dict[int, list[str]] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        entry = calls.setdefault(piece.index, ["", "", ""])
        entry[0] += piece.id or ""
        entry[1] += piece.name or ""
        entry[2] += piece.arguments
    return {
        "text": "".join(delta.content for delta in deltas),
        "reasoning": "".join(delta.reasoning for delta in deltas),
        "calls": [tuple(entry) for entry in calls.values()],
        "finish": next(event.reason for event in events if isinstance(event, Finish)),
    }


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def identity(operation: str) -> Identity:
    return Identity(operation=operation, id="chatcmpl-1", created_s=5, model="mine")


def sse(*objects: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(o).encode() for o in objects)


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


# -- real streams -----------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_says_what_its_raw_json_says(decode, normalise, name):
    body = (DATA / name).read_bytes()
    wanted = reference(chunks_of(body))
    events = normalise(decode(OPENAI, [body], operation_of(name)))

    told = told_by(events)
    usage = wanted.pop("usage")
    assert told == wanted
    *_, report, last = events
    assert last == End()
    if usage is None:
        assert report.usage.estimated
    else:
        assert report.usage.total_tokens == usage["total_tokens"]
        assert report.usage.prompt_tokens == usage["prompt_tokens"]
        assert not report.usage.estimated


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_cutting_a_recorded_stream_never_changes_its_events(decode, plain, name, size):
    body = (DATA / name).read_bytes()
    if size == 1:
        body = body[:4000]  # byte by byte is slow; its shape does not change with its length
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    operation = operation_of(name)
    assert plain(decode(OPENAI, pieces, operation)) == plain(decode(OPENAI, [body], operation))


@given(name=st.sampled_from(STREAMS), places=st.lists(st.integers(0, 20_000), max_size=6))
def test_cutting_a_recorded_stream_anywhere_never_changes_its_events(decode, name, places):
    body = (DATA / name).read_bytes()
    operation = operation_of(name)
    assert decode(OPENAI, cut(body, places), operation) == decode(OPENAI, [body], operation)


@given(name=st.sampled_from(STREAMS), places=st.lists(st.integers(0, 20_000), max_size=6))
def test_a_recorded_stream_whose_pieces_are_joined_folds_to_the_same_answer(
    decode, normalise, name, places
):
    operation, body = operation_of(name), (DATA / name).read_bytes()
    events = normalise(decode(OPENAI, [body], operation))
    joined = normalise(decode(OPENAI, cut(body, places), operation, joins=True))
    assert folded(joined, operation) == folded(events, operation)
    assert pieces(joined) == pieces(events)


def folded(events, operation: str) -> bytes:
    fold = Fold(identity(operation), max_bytes=10**9)
    fold.add(events)
    return fold.body()


def pieces(events) -> int:
    return sum(event.pieces for event in events if isinstance(event, Delta))


def test_pieces_that_come_together_are_one_where_nobody_sees_them_before_the_end(decode):
    stream = sse(*(chunk(text) for text in "abcd"), chunk(None, "stop"))
    told = decode(OPENAI, [stream], joins=True)
    finish = [Finish(reason="stop"), End()]
    assert told == [Opened(), Delta(content="a"), Delta(content="bcd", pieces=3), *finish]
    assert decode(OPENAI, [stream]) == [Opened(), *(Delta(content=t) for t in "abcd"), *finish]
    odd = stream.replace(b"\n", b"\r\n")
    assert decode(OPENAI, [odd[:-5], odd[-5:]], joins=True) == told


@given(name=st.sampled_from(STREAMS), at=st.integers(0, 20_000))
def test_a_recorded_stream_cut_short_is_never_a_short_success(decode, normalise, name, at):
    body = (DATA / name).read_bytes()
    whole = normalise(decode(OPENAI, [body], operation_of(name)))
    short = normalise(decode(OPENAI, [body[: at % len(body)]], operation_of(name)))
    if isinstance(short[-1], End):
        assert told_by(short) == told_by(whole)


@pytest.mark.parametrize("name", STREAMS)
def test_the_openai_sdk_reads_what_a_recorded_stream_becomes(decode, normalise, name):
    operation = operation_of(name)
    body = (DATA / name).read_bytes()
    events = normalise(decode(OPENAI, [body], operation))
    writer = StreamWriter(identity(operation), include_usage=True)
    frames = chunks_of(writer.write(events))
    for frame in frames:
        if operation == "chat":
            ChatCompletionChunk.model_validate(frame)
        else:  # OpenAI's own type has no word for "not finished"
            choices = [
                c | {"finish_reason": c["finish_reason"] or "stop"} for c in frame["choices"]
            ]
            Completion.model_validate(frame | {"choices": choices})
    assert {(f["id"], f["model"], f["created"]) for f in frames} == {("chatcmpl-1", "mine", 5)}
    wanted, found = reference(chunks_of(body)), reference(frames)
    wanted["usage"] = found["usage"]
    assert found == wanted

    fold = Fold(identity(operation), max_bytes=10**6)
    fold.add(normalise(decode(OPENAI, [body], operation)))
    answer = json.loads(fold.body())
    (ChatCompletion if operation == "chat" else Completion).model_validate(answer)
    assert reference([answer]) == found


def test_xais_reasoning_is_counted_as_completion(decode, normalise):
    name = "recordings/xai/stream_xai_tool_call_1af509.sse"
    events = normalise(decode(OPENAI, [(DATA / name).read_bytes()]))
    assert events[-2].usage == Usage(
        prompt_tokens=291, completion_tokens=26 + 196, cached_tokens=290, reasoning_tokens=196
    )


def test_reasoning_that_is_counted_already_is_not_counted_twice(decode, normalise):
    name = "recordings/deepseek/stream_deepseek_tool_call_194027.sse"
    events = normalise(decode(OPENAI, [(DATA / name).read_bytes()]))
    assert events[-2].usage == Usage(
        prompt_tokens=339, completion_tokens=83, cached_tokens=320, reasoning_tokens=39
    )


def test_azures_chunk_about_the_prompt_does_not_hide_the_fingerprint(decode):
    prompt = {"choices": [], "prompt_filter_results": [], "id": "", "model": "", "object": ""}
    events = decode(OPENAI, [sse(prompt, chunk("x", system_fingerprint="fp_1"))])
    assert events[0] == Opened(system_fingerprint="fp_1")


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("name", "fault", "code", "message"),
    [
        (
            "openrouter/stream_test_openrouter_stream_error_baafd4",
            "client",
            "invalid_request",
            "Token limit reached",
        ),
        (
            "groq/stream_test_tool_use_failed_error_streaming_25e988",
            "stream_broken",
            "tool_use_failed",
            "Tool call validation failed",
        ),
    ],
)
def test_a_recorded_error_inside_a_stream_is_told_with_the_providers_words(
    decode, name, fault, code, message
):
    body = (DATA / "recordings" / f"{name}.sse").read_bytes()
    *before, last = decode(OPENAI, [body])
    assert isinstance(last, Fault)
    assert any(isinstance(event, Delta) for event in before)
    assert (last.error.fault, last.error.code) == (fault, code)
    assert last.error.message.startswith(message)


# -- whole documents, where a stream was asked for --------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_becomes_the_events_of_a_stream(decode, normalise, name):
    body = (DATA / name).read_bytes()
    operation = operation_of(name)
    wanted = reference([json.loads(body)])
    content_type = "application/json; charset=utf-8"
    events = decode(OPENAI, cut(body, [10, 300]), operation, content_type)
    assert events == decode(OPENAI, [body], operation, content_type)
    told = normalise(events)
    usage = wanted.pop("usage")
    assert told_by(told) == wanted
    assert told[-2].usage.total_tokens == usage["total_tokens"]

    fold = Fold(identity(operation), max_bytes=10**6)
    fold.add(told)
    answer = json.loads(fold.body())
    (ChatCompletion if operation == "chat" else Completion).model_validate(answer)
    folded = reference([answer])
    folded.pop("usage")
    assert folded == wanted


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("body", "fault", "message"),
    [
        (b'{"error":{"message":"boom","type":"server_error"}}', "upstream_bug", "boom"),
        (
            b'{"error":"generate expects one response"}',
            "upstream_bug",
            "generate expects one response",
        ),
        (b'{"error":{"message":"busy","code":503}}', "unavailable", "busy"),
        (b'{"error":{"message":"no","code":"429"},"choices":[]}', "rate_limit", "no"),
        (b'{"detail":"Not Found"}', "upstream_bug", "Not Found"),
        (b"{}", "upstream_bug", "the engine's answer has no choices"),
        (b"<html>", "upstream_bug", "the engine's answer is not valid JSON"),
        (b"", "upstream_bug", "the engine's answer is not valid JSON"),
        (
            b'{"choices":[{"message":{"content":"hal',
            "upstream_bug",
            "the engine's answer is not valid JSON",
        ),
        (b"[" * 50_000, "upstream_bug", "the engine's answer is not valid JSON"),
    ],
)
@pytest.mark.parametrize("operation", ["chat", "embedding"])
def test_a_200_with_an_error_in_it_is_a_fault(decode, operation, body, fault, message):
    (last,) = decode(OPENAI, [body], operation, "application/json")
    assert isinstance(last, Fault)
    assert last.error.fault == fault
    assert last.error.message == message.replace(
        "choices", "choices" if operation == "chat" else "data"
    )


def test_a_document_without_finish_reason_is_not_complete(decode, normalise):
    body = json.dumps({"choices": [{"index": 0, "message": {"content": "half"}}]}).encode()
    assert isinstance(normalise(decode(OPENAI, [body], content_type="application/json"))[-1], Fault)


def test_invalid_utf8_in_a_document_becomes_replacement_characters(decode):
    body = b'{"choices":[{"message":{"content":"a\xffb"},"finish_reason":"stop"}]}'
    events = decode(OPENAI, [body], content_type="application/json")
    assert events[1] == Delta(content="a�b")


@pytest.mark.req("SEC-5")
def test_a_document_has_a_maximum():
    decoder = DocumentDecoder(OPENAI)
    piece = b" " * (MAX_DOCUMENT_BYTES // 4)
    for _ in range(4):
        assert decoder.feed(piece) == []
    (fault,) = decoder.feed(b" ")
    assert isinstance(fault, Fault)
    assert decoder.feed(piece) == []
    assert decoder.close() == []


# -- embeddings -------------------------------------------------------------------------


def test_an_embedding_answer_keeps_its_members_byte_for_byte(decode, normalise):
    body = (
        DATA / "recordings/openai_embeddings/json_testopenai_test_query_299b4c.json"
    ).read_bytes()
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    events = normalise(decode(OPENAI, cut(body, [100]), "embedding", "application/json"))
    document, report, last = events
    assert document == Document(members=raw)
    assert report.usage.prompt_tokens == json.loads(body)["usage"]["prompt_tokens"]
    assert last == End()
    fold = Fold(identity("embedding"), max_bytes=100)
    fold.add(events)
    answer = msgspec.json.decode(fold.body(), type=dict[str, msgspec.Raw])
    assert answer == raw | {"model": msgspec.Raw(b'"mine"')}


# -- small things that streams do -------------------------------------------------------


def deltas(events) -> list[Delta]:
    return [event for event in events if isinstance(event, Delta)]


def test_content_on_the_finish_chunk_comes_before_the_finish(decode):
    events = decode(OPENAI, [sse(chunk("last", "length"))])
    assert events[1:] == [Delta(content="last"), Finish(reason="length"), End()]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_understood_under_both_names(decode, field):
    events = decode(OPENAI, [sse({"choices": [{"delta": {field: "hm", "content": None}}]})])
    assert deltas(events) == [Delta(reasoning="hm")]


def test_role_only_and_empty_deltas_are_no_content(decode):
    empty = [{"role": "assistant"}, {"role": "assistant", "content": ""}, {"content": None}, {}]
    events = decode(OPENAI, [sse(*({"choices": [{"delta": delta}]} for delta in empty))])
    assert [type(event) for event in events] == [Opened, End]


def test_other_members_of_a_delta_travel_on_as_they_are(decode):
    raw = b'{"choices":[{"delta":{"audio":{"data":"AA", "n":1.0},"annotations":[],"images":null}}]}'
    (delta,) = deltas(decode(OPENAI, [b"data: " + raw + b"\n\n"]))
    assert delta.extra == {"audio": msgspec.Raw(b'{"data":"AA", "n":1.0}')}


def test_logprobs_of_a_token_without_text_are_not_lost(decode):
    told = {"content": [{"token": "\\xe2", "logprob": -0.1, "bytes": [226], "top_logprobs": []}]}
    nothing = {"content": [], "refusal": None}
    stream = sse(
        {"choices": [{"delta": {"role": "assistant", "content": ""}, "logprobs": nothing}]},
        {"choices": [{"delta": {"content": ""}, "logprobs": told}]},
        {"choices": [{"delta": {"content": "x"}, "logprobs": None}]},
        {"choices": [{"text": "", "logprobs": {"tokens": ["a"]}}]},
    )
    first, second, third = deltas(decode(OPENAI, [stream]))
    assert json.loads(bytes(first.logprobs)) == told
    assert second == Delta(content="x")
    assert json.loads(bytes(third.logprobs)) == {"tokens": ["a"]}


def test_arguments_that_come_as_an_object_become_their_text(decode):
    call = {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
    (delta,) = deltas(decode(OPENAI, [sse({"choices": [{"delta": {"tool_calls": [call]}}]})]))
    assert (delta.tool_calls[0].index, delta.tool_calls[0].arguments) == (-1, '{"x":1}')


def test_heartbeats_and_events_without_data_say_nothing(decode):
    stream = b": ping\n\ndata:\n\ndata: \n\n:\n\nevent: ping\n\n" + sse(chunk("x", "stop"))
    assert [type(event) for event in decode(OPENAI, [stream])] == [Opened, Delta, Finish, End]


def test_after_done_nothing_is_read(decode):
    stream = sse(chunk("x", "stop")) + b"data: [DONE]\n\n" + sse(chunk("y")) + b"data: {broken\n\n"
    assert deltas(decode(OPENAI, [stream])) == [Delta(content="x")]


def test_a_last_event_without_its_blank_line_counts(decode):
    stream = sse(chunk("x", "stop")).rstrip()
    assert [type(event) for event in decode(OPENAI, [stream])] == [Opened, Delta, Finish, End]


@pytest.mark.parametrize("at", range(1, 4))
def test_a_character_cut_by_the_network_is_whole_again(decode, at):
    head, tail = b'{"choices":[{"delta":{"content":"', b'"}}]}\n\n'
    euro = "😀".encode()
    pieces = [b"data: " + head + euro[:at], euro[at:] + tail]
    assert deltas(decode(OPENAI, pieces)) == [Delta(content="😀")]


# -- broken streams ---------------------------------------------------------------------

broken = pytest.mark.req("RUN-3", "RUN-6")


@broken
@pytest.mark.parametrize(
    "data", [b"{broken", b"[1", b"nonsense", b'{"choices":5}', b'"text"', b"7"]
)
def test_a_broken_event_ends_the_stream_with_a_fault(decode, data):
    stream = sse(chunk("x")) + b"data: " + data + b"\n\n" + sse(chunk("y", "stop"))
    *before, last = decode(OPENAI, [stream])
    assert deltas(before) == [Delta(content="x")]
    assert isinstance(last.error, StreamBroken)


@broken
def test_invalid_utf8_in_an_event_becomes_replacement_characters(decode):
    raw = b'data: {"choices":[{"delta":{"content":"a\xffb","audio":{"x":"\xfe"}}}]}\n\n'
    (delta,) = deltas(decode(OPENAI, [raw]))
    assert delta.content == "a�b"
    assert json.loads(bytes(delta.extra["audio"])) == {"x": "�"}


@broken
def test_an_error_whose_message_is_not_utf8_is_still_an_error(decode):
    *_, last = decode(OPENAI, [b'data: {"error":{"message":"no\xff","code":500}}\n\n'])
    assert last.error.message == "no�"
    assert last.error.fault == "upstream_bug"


@broken
def test_an_error_after_which_done_follows_is_still_an_error(decode):
    body = (DATA / "transcripts/vllm_engine_killed.sse").read_bytes()
    *_, last = decode(dialect_for("vllm"), [body])
    assert isinstance(last, Fault)
    assert last.error.fault == "upstream_bug"  # before the first token, another attempt can help
    assert last.error.message.startswith("EngineCore encountered an issue")


@broken
@pytest.mark.parametrize(
    ("event", "fault", "message"),
    [
        ({"error": {"message": "boom", "type": "server_error"}}, "stream_broken", "boom"),
        ({"error": "text only"}, "stream_broken", "text only"),
        ({"detail": "gone"}, "stream_broken", "gone"),
        ({"error": {"message": "late", "code": 504}}, "timeout", "late"),
        ({"error": {"message": "many", "code": 429}}, "rate_limit", "many"),
        ({"error": {"message": "full", "code": 503}, "choices": []}, "unavailable", "full"),
        (
            {"error": {"message": "long", "code": "context_length_exceeded"}},
            "context_length",
            "long",
        ),
        ({"error": {"code": 500}}, "upstream_bug", "the engine answered 500"),
        ({"error": True}, "stream_broken", "the engine reported an error"),
        ([{"error": {"message": "listed", "code": 503}}], None, None),
    ],
)
def test_an_error_inside_a_stream_is_classified_by_what_it_says(decode, event, fault, message):
    *_, last = decode(OPENAI, [sse(event) + b"data: [DONE]\n\n"])
    assert isinstance(last, Fault)
    if fault is None:
        assert isinstance(last.error, StreamBroken)
        return
    assert (last.error.fault, last.error.message) == (fault, message)
    assert last.error.upstream_status is None


@broken
def test_an_event_named_error_is_an_error_whatever_its_data(decode):
    *_, last = decode(OPENAI, [b'event: error\ndata: {"message":"odd shape"}\n\ndata: [DONE]\n\n'])
    assert isinstance(last, Fault)
    assert last.error.message == "odd shape"


@broken
@pytest.mark.parametrize("nothing", [None, "", {}, [], False])
def test_an_empty_error_member_is_no_error(decode, nothing):
    events = decode(OPENAI, [sse(chunk("x", "stop", error=nothing))])
    assert [type(event) for event in events] == [Opened, Delta, Finish, End]


@broken
@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("line", [b"data: ", b""])
def test_an_event_without_end_is_a_fault(decode, line):
    pieces = [line + b"x" * (MAX_EVENT_BYTES // 2)] * 3
    (last,) = decode(OPENAI, pieces)
    assert isinstance(last.error, StreamBroken)
    assert "longer than" in last.error.message


@broken
@pytest.mark.req("SEC-5")
def test_an_event_that_becomes_too_large_with_its_last_line_is_a_fault(decode):
    half = b"data: " + b"x" * (MAX_EVENT_BYTES // 2 + 10)
    (last,) = decode(OPENAI, [half + b"\n", half])
    assert isinstance(last.error, StreamBroken)


@broken
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"data: {", b"\n\n"])), max_size=8)
)
def test_no_bytes_make_a_decoder_raise(decode, normalise, pieces):
    for content_type in ("text/event-stream", "application/json", ""):
        for operation in ("chat", "embedding"):
            assert isinstance(normalise(decode(OPENAI, pieces, operation, content_type))[-1], Fault)


WORDS = ["choices", "delta", "message", "content", "usage", "error", "detail", "code", "data", "x"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


def maybe(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of its members, now and then with a value of any type at all."""
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(s, s, s, json_values) for name, s in members.items()}
    )


texts = st.sampled_from(["", "a", "é😀", None])
odd_calls = maybe(
    index=st.integers(-1, 2), id=texts, function=maybe(name=texts, arguments=texts), type=texts
)
odd_deltas = maybe(
    content=texts, reasoning=texts, refusal=texts, tool_calls=st.lists(odd_calls, max_size=2)
)
odd_chunks = maybe(
    choices=st.lists(
        maybe(
            index=st.integers(-1, 2),
            delta=odd_deltas,
            text=texts,
            finish_reason=texts,
            logprobs=json_values,
        ),
        max_size=2,
    ),
    usage=maybe(prompt_tokens=st.integers(0, 9), completion_tokens=st.integers(0, 9)),
    error=st.none(),
)


@broken
@given(values=st.lists(st.one_of(odd_chunks, odd_chunks, json_values), max_size=4))
def test_no_json_makes_a_decoder_or_a_writer_raise(decode, normalise, values):
    events = normalise(decode(OPENAI, [sse(*values)]))
    assert isinstance(events[-1], End | Fault)
    for line in (
        StreamWriter(identity("chat"), include_usage=True).write(events).split(b"\n\n")[:-1]
    ):
        assert line == b"data: [DONE]" or json.loads(line.removeprefix(b"data: "))
    fold = Fold(identity("chat"), max_bytes=10**6)
    fold.add(events)
    json.loads(fold.body())
    body = json.dumps(values[:1] and values[0]).encode()
    for operation in ("chat", "embedding"):
        document = decode(OPENAI, [body], operation, "application/json")
        assert isinstance(normalise(document)[-1], End | Fault)
    OPENAI.fault(WireHead(status=500, headers={}), body)


def test_an_engine_that_ends_with_usage_reports_it_once(decode, normalise):
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    stream = sse(chunk("x"), chunk(None, "stop", usage=usage), {"choices": [], "usage": usage})
    reports = [e for e in normalise(decode(OPENAI, [stream])) if isinstance(e, UsageReport)]
    assert reports == [UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=1))]


def test_tokens_that_were_put_into_a_cache_are_counted(decode):
    chunk = {
        "choices": [],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 7},
        },
    }
    (report,) = decode(OPENAI, [b"data: %b\n\n" % json.dumps(chunk).encode()])[-2:-1] or [None]
    assert report.usage.cache_write_tokens == 7
