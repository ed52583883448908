import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from contracts.errors import QueueFull, StreamBroken, UpstreamFault
from contracts.events import (
    Delta,
    Document,
    End,
    Event,
    Fault,
    Finish,
    Opened,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from gateway.answers import (
    HEARTBEAT,
    Fold,
    Identity,
    StreamWriter,
    error_frame,
    joined,
    usage_object,
)

pytestmark = pytest.mark.req("RUN-1", "RUN-3")

USAGE = UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1))
PLAIN = [Opened(), Delta(content="Hel"), Delta(content="lo"), Finish(reason="stop"), USAGE, End()]


def identity(operation: str = "chat", reasoning_field: str = "reasoning_content") -> Identity:
    return Identity(
        operation=operation,
        id="x-1",
        created_s=1_700_000_000,
        model="mine",
        reasoning_field=reasoning_field,
    )


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def frames(
    events: list[Event], *, include_usage: bool = True, step: int | None = None, **who: str
) -> list[dict[str, Any]]:
    """The JSON of every frame, `[DONE]` left out; it must come last if it comes."""
    writer = StreamWriter(identity(**who), include_usage=include_usage)
    size = step or len(events) or 1
    sent = b"".join(writer.write(events[i : i + size]) for i in range(0, len(events), size))
    assert sent == b"" or sent.endswith(b"\n\n")
    blocks = sent.split(b"\n\n")[:-1]
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
    payloads = [block.removeprefix(b"data: ") for block in blocks]
    assert b"[DONE]" not in payloads[:-1]
    return [json.loads(payload) for payload in payloads if payload != b"[DONE]"]


def folded(events: list[Event], **who: str) -> dict[str, Any]:
    fold = Fold(identity(**who), max_bytes=10**6)
    fold.add(events)
    return json.loads(fold.body())


# -- the stream -------------------------------------------------------------------------


def test_a_stream_is_role_content_finish_usage_done():
    found = frames(PLAIN)
    assert [frame["choices"][0]["delta"] for frame in found[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [frame["choices"][0]["finish_reason"] for frame in found[:-1]] == [
        None,
        None,
        None,
        "stop",
    ]
    assert found[-1]["choices"] == []
    assert found[-1]["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    assert all(frame["usage"] is None for frame in found[:-1])
    for frame in found:
        ChatCompletionChunk.model_validate(frame)


def test_usage_is_shown_only_to_those_who_asked():
    found = frames(PLAIN, include_usage=False)
    assert len(found) == 4
    assert not any("usage" in frame for frame in found)


def test_every_frame_names_the_same_answer():
    found = frames([Opened(system_fingerprint="fp", service_tier="default"), *PLAIN[1:]])
    same = {
        "id": "x-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "mine",
    }
    same |= {"system_fingerprint": "fp", "service_tier": "default"}
    assert all(same.items() <= frame.items() for frame in found)


def test_done_comes_exactly_once_and_only_at_the_end():
    sent = StreamWriter(identity(), include_usage=False).write(PLAIN)
    assert sent.count(b"[DONE]") == 1
    assert sent.endswith(b"data: [DONE]\n\n")


def test_nothing_to_show_writes_nothing():
    writer = StreamWriter(identity(), include_usage=False)
    assert writer.write([]) == b""
    assert writer.write([Opened(), USAGE]) == b""


@given(
    text=st.text(),
    choice=st.integers(0, 1),
    operation=st.sampled_from(["chat", "completion"]),
    field=st.sampled_from(["reasoning", "reasoning_content"]),
    opened=st.booleans(),
)
def test_what_is_around_a_text_is_what_is_written_around_it(text, choice, operation, field, opened):
    writer = StreamWriter(identity(operation, field), include_usage=True)
    for member in ("content", "reasoning"):
        assert writer.around(choice, member) is None, (
            "its first frame is not all that there is to say"
        )
    writer.write([Delta(choice=choice, content="a")])
    if opened:
        writer.write([Opened(system_fingerprint="fp")])
    before, after = writer.around(choice, "content")
    written = writer.write([Delta(choice=choice, content=text)])
    assert before + msgspec.json.encode(text) + after == written
    frame = msgspec.json.decode(written[6:])
    assert (frame["usage"], frame.get("system_fingerprint")) == (None, "fp" if opened else None)
    around = writer.around(choice, "reasoning")
    assert (around is None) == (operation == "completion")
    if text and around is not None:
        written = writer.write([Delta(choice=choice, reasoning=text)])
        assert around[0] + msgspec.json.encode(text) + around[1] == written
        assert msgspec.json.decode(written[6:])["choices"][0]["delta"] == {field: text}


def test_each_choice_opens_with_its_role():
    events = [
        Delta(choice=1, content="b"),
        Delta(choice=0, content="a"),
        Finish(choice=2, reason="stop"),
    ]
    roles = [f["choices"][0] for f in frames(events) if "role" in f["choices"][0]["delta"]]
    assert [role["index"] for role in roles] == [1, 0, 2]


def test_a_text_completion_has_text_and_no_role():
    found = frames(PLAIN, operation="completion")
    assert [frame["choices"][0]["text"] for frame in found[:-1]] == ["Hel", "lo", ""]
    assert {frame["object"] for frame in found} == {"text_completion"}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_has_one_name_the_configured_one(field):
    events = [Delta(reasoning="hm"), Delta(reasoning="m", content="x")]
    found = [f["choices"][0]["delta"] for f in frames(events, reasoning_field=field)[1:]]
    assert found == [{field: "hm"}, {"content": "x", field: "m"}]
    message = folded([*events, Finish(reason="stop")], reasoning_field=field)["choices"][0][
        "message"
    ]
    assert message[field] == "hmm"
    assert len({"reasoning", "reasoning_content"} & set(message)) == 1


def test_a_tool_call_names_itself_once_and_streams_its_arguments():
    pieces = [
        ToolCallDelta(index=0, id="a", name="f"),
        ToolCallDelta(index=0, arguments='{"x":'),
        ToolCallDelta(index=0, arguments="1}"),
    ]
    found = frames([Delta(tool_calls=(piece,)) for piece in pieces])[1:]
    assert [frame["choices"][0]["delta"]["tool_calls"][0] for frame in found] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
    ]


def test_other_members_and_logprobs_travel_as_they_were_written():
    odd = msgspec.Raw(b'{"data":"AA", "n":1.0}')
    writer = StreamWriter(identity(), include_usage=False)
    sent = writer.write([Delta(content="x", logprobs=odd, extra={"audio": odd})])
    assert b'"logprobs":{"data":"AA", "n":1.0}' in sent
    assert b'"audio":{"data":"AA", "n":1.0}' in sent


def test_texts_that_look_like_framing_stay_inside_their_frame():
    text = 'data: [DONE]\n\n"}\r\n\u2028\x00é😀'
    (_, frame) = frames([Delta(content=text)])
    assert frame["choices"][0]["delta"]["content"] == text


def test_a_document_is_not_a_stream():
    with pytest.raises(TypeError):
        StreamWriter(identity(), include_usage=False).write([Document(members={})])


def test_an_estimate_says_that_it_is_one():
    usage = Usage(prompt_tokens=1, completion_tokens=1, reasoning_tokens=1, estimated=True)
    (frame,) = frames([UsageReport(usage=usage)])
    assert frame["usage"]["estimated"] is True
    assert frame["usage"]["completion_tokens_details"] == {"reasoning_tokens": 1}


@pytest.mark.req("RUN-6")
def test_an_error_is_one_last_event_in_openais_shape():
    error = StreamBroken("cut", fault="stream_broken", where="pool p")
    found = frames([Delta(content="x"), Fault(error=error)])
    assert found[-1] == {
        "error": {
            "message": "cut",
            "type": "server_error",
            "param": None,
            "code": "upstream_stream_broken",
            "source": "engine",
            "retriable": True,
        }
    }
    assert error_frame(QueueFull("full", retry_after_s=2), "req-1").endswith(b"}}\n\n")
    shown = json.loads(error_frame(QueueFull("full", retry_after_s=2), "req-1")[6:])["error"]
    assert (shown["request_id"], shown["retriable"], shown["retry_after_ms"]) == (
        "req-1",
        True,
        2000,
    )


def test_a_heartbeat_is_a_comment_with_a_single_newline():
    assert HEARTBEAT.startswith(b":")
    assert HEARTBEAT.count(b"\n") == 1
    assert HEARTBEAT.endswith(b"\n")


# -- the fold ---------------------------------------------------------------------------


def test_a_folded_answer_is_openais_object():
    answer = folded([Opened(system_fingerprint="fp", service_tier="flex"), *PLAIN[1:]])
    assert answer == {
        "id": "x-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "mine",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
        "system_fingerprint": "fp",
        "service_tier": "flex",
    }
    ChatCompletion.model_validate(answer)


def test_a_folded_text_completion_is_openais_object():
    answer = folded(PLAIN, operation="completion")
    assert answer["choices"] == [
        {"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}
    ]
    Completion.model_validate(answer)


def test_choices_come_in_the_order_of_their_index():
    events = [
        Delta(choice=1, content="b"),
        Delta(choice=0, content="a"),
        Finish(choice=1, reason="length"),
        Finish(choice=0, reason="stop"),
    ]
    found = [
        (c["index"], c["message"]["content"], c["finish_reason"]) for c in folded(events)["choices"]
    ]
    assert found == [(0, "a", "stop"), (1, "b", "length")]


def test_an_answer_of_calls_has_no_content():
    events = [
        Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments="{"),)),
        Delta(tool_calls=(ToolCallDelta(index=1, id="b", name="g"),)),
        Delta(
            tool_calls=(
                ToolCallDelta(index=0, arguments="}"),
                ToolCallDelta(index=1, arguments="1"),
            )
        ),
        Finish(reason="tool_calls"),
    ]
    message = folded(events)["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "1"}},
    ]


def test_an_empty_answer_has_empty_content():
    assert folded([Finish(reason="stop")])["choices"][0]["message"]["content"] == ""


def test_a_refusal_is_folded():
    message = folded([Delta(refusal="I "), Delta(refusal="won't"), Finish(reason="stop")])[
        "choices"
    ][0]
    assert message["message"]["refusal"] == "I won't"
    assert message["message"]["content"] is None


def test_logprobs_of_all_pieces_are_kept_in_order():
    events = [
        Delta(content="a", logprobs=raw({"content": [{"token": "a"}], "refusal": None})),
        Delta(content="b"),
        Delta(content="c", logprobs=raw({"content": [{"token": "c"}], "refusal": None})),
    ]
    assert folded(events)["choices"][0]["logprobs"] == {
        "content": [{"token": "a"}, {"token": "c"}],
        "refusal": None,
    }


def test_other_members_grow_piece_by_piece():
    events = [
        Delta(extra={"audio": raw({"id": "au", "data": "AA", "transcript": "he"})}),
        Delta(extra={"audio": raw({"id": "au", "data": "BB", "transcript": "y", "expires_at": 5})}),
        Delta(extra={"annotations": raw([{"type": "url"}])}),
        Delta(extra={"annotations": raw([{"type": "file"}])}),
    ]
    message = folded(events)["choices"][0]["message"]
    assert message["audio"] == {"id": "au", "data": "AABB", "transcript": "hey", "expires_at": 5}
    assert message["annotations"] == [{"type": "url"}, {"type": "file"}]


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([], None),
        ([None, None], None),
        (["a"], "a"),
        (["a", None, "b"], "ab"),
        ([[1], [2, 3]], [1, 2, 3]),
        ([1, 2], 2),
        ([True, None], True),
        (["a", 5], 5),
        ([{"id": "x", "n": 1}, {"id": "x", "n": 2}], {"id": "x", "n": 2}),
        ([{"id": "x"}, {"id": None, "a": "b"}], {"id": "x", "a": "b"}),
        ([{"a": {"b": "c"}}, {"a": {"b": "d"}}, {"e": None}], {"a": {"b": "cd"}, "e": None}),
    ],
)
def test_pieces_join_to_the_value_that_they_spell(pieces, whole):
    assert joined(pieces) == whole


def test_an_embedding_is_its_document_under_the_clients_model_name():
    document = {"object": raw("list"), "model": raw("theirs"), "data": msgspec.Raw(b"[ 1.0 ]")}
    fold = Fold(identity("embedding"), max_bytes=10)
    fold.add([Document(members=document), USAGE, End()])
    assert fold.body() == b'{"object":"list","model":"mine","data":[ 1.0 ]}'


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x" * 200},
        {"content": "é" * 200},
        {"content": "😀" * 100},
        {"reasoning": "x" * 200},
        {"refusal": "x" * 200},
        {"tool_calls": (ToolCallDelta(index=0, arguments="x" * 200),)},
        {"tool_calls": (ToolCallDelta(index=0, name="x" * 200),)},
        {"logprobs": raw("x" * 200)},
        {"extra": {"images": raw("x" * 200)}},
    ],
    ids=lambda delta: next(iter(delta)),
)
def test_an_answer_has_a_maximum_whatever_it_is_made_of(delta):
    Fold(identity(), max_bytes=1000).add([Delta(**delta)])
    fold = Fold(identity(), max_bytes=1000)
    with pytest.raises(UpstreamFault) as caught:
        fold.add([Delta(**delta)] * 5)
    assert caught.value.code == "answer_too_large"


@pytest.mark.req("SEC-5")
def test_many_empty_pieces_count_too():
    fold = Fold(identity(), max_bytes=10_000)
    with pytest.raises(UpstreamFault):
        fold.add([Delta(content="x")] * 1000)


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("bad", [b'"\\ud800"', b"[" * 100_000], ids=["half a character", "depth"])
def test_a_piece_that_cannot_be_read_is_the_engines_fault(bad):
    for delta in (Delta(logprobs=msgspec.Raw(bad)), Delta(extra={"audio": msgspec.Raw(bad)})):
        with pytest.raises(UpstreamFault):
            Fold(identity(), max_bytes=10**6).add([delta])


# -- both say the same ------------------------------------------------------------------

CHAT = ["text", "logprobs", "reasoning", "refusal", "new call", "call", "extra", "finish"]
STEPS = {
    operation: st.lists(
        st.tuples(
            st.sampled_from(kinds), st.integers(0, 2), st.sampled_from(["", "a", '"é\n', "😀"])
        ),
        max_size=12,
    )
    for operation, kinds in {"chat": CHAT, "completion": ["text", "logprobs", "finish"]}.items()
}


def stream_of(steps: list[tuple[str, int, str]]) -> list[Event]:
    """A well-formed stream of interleaved choices."""
    calls: dict[int, int] = {}
    finished: list[int] = []
    events: list[Event] = [Opened(system_fingerprint="fp")]
    for kind, choice, text in steps:
        if choice in finished:
            continue
        count = calls.get(choice, 0)
        match kind:
            case "text":
                events.append(Delta(choice=choice, content=text))
            case "logprobs":
                told = {"content": [{"token": text, "logprob": -0.5, "top_logprobs": []}]}
                events.append(Delta(choice=choice, content=text, logprobs=raw(told)))
            case "reasoning":
                events.append(Delta(choice=choice, reasoning=text, content=text))
            case "refusal":
                events.append(Delta(choice=choice, refusal=text))
            case "new call":
                piece = ToolCallDelta(index=count, id=f"c{count}", name="f", arguments=text)
                events.append(Delta(choice=choice, tool_calls=(piece,)))
                calls[choice] = count + 1
            case "call" if count:
                pieces = tuple(ToolCallDelta(index=i, arguments=text) for i in range(count))
                events.append(Delta(choice=choice, tool_calls=pieces))
            case "extra":
                audio = raw({"id": "a", "data": text, "transcript": text, "expires_at": 5})
                events.append(Delta(choice=choice, extra={"audio": audio}))
            case "finish":
                finished.append(choice)
                events.append(Finish(choice=choice, reason="length"))
    seen = {event.choice for event in events if isinstance(event, Delta)}
    events += [Finish(choice=choice, reason="stop") for choice in sorted(seen - {*finished})]
    return [*events, USAGE, End()]


def read_back(found: list[dict[str, Any]], operation: str) -> list[Event]:
    """The writer's own frames as events, read in the plainest way."""
    events: list[Event] = []
    for frame in found:
        events.append(Opened(system_fingerprint=frame.get("system_fingerprint")))
        for choice in frame["choices"]:
            index, delta = choice["index"], choice.get("delta", {})
            if choice["finish_reason"] is not None:
                events.append(Finish(choice=index, reason=choice["finish_reason"]))
                continue
            events.append(
                Delta(
                    choice=index,
                    content=delta.get("content") or choice.get("text") or "",
                    reasoning=delta.get("reasoning_content", ""),
                    refusal=delta.get("refusal", ""),
                    tool_calls=tuple(
                        ToolCallDelta(
                            index=call["index"],
                            id=call.get("id"),
                            name=call["function"].get("name"),
                            arguments=call["function"]["arguments"],
                        )
                        for call in delta.get("tool_calls", [])
                    ),
                    logprobs=raw(choice["logprobs"]) if choice["logprobs"] else None,
                    extra={"audio": raw(delta["audio"])} if "audio" in delta else None,
                )
            )
        if frame.get("usage"):
            events.append(USAGE)
    return events


@pytest.mark.parametrize("operation", ["chat", "completion"])
@given(data=st.data(), step=st.integers(1, 4))
def test_a_stream_and_the_folded_answer_say_the_same(operation, data, step):
    events = stream_of(data.draw(STEPS[operation]))
    found = frames(events, operation=operation, step=step)
    assert found == frames(events, operation=operation)
    whole = folded(events, operation=operation)
    assert folded(read_back(found, operation), operation=operation) == whole
    if operation == "chat":
        ChatCompletion.model_validate(whole)
        for frame in found:
            ChatCompletionChunk.model_validate(frame)
    finishes = [c["index"] for f in found for c in f["choices"] if c["finish_reason"] is not None]
    assert sorted(finishes) == sorted(set(finishes)) == [c["index"] for c in whole["choices"]]
    assert sum(frame.get("usage") is not None for frame in found) == 1


def test_what_was_put_into_a_cache_is_told_where_the_backend_tells_it() -> None:
    usage = Usage(prompt_tokens=9, completion_tokens=2, cache_write_tokens=7)
    assert usage_object(usage)["prompt_tokens_details"] == {
        "cached_tokens": 0,
        "cache_write_tokens": 7,
    }
