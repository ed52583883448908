"""What only Anthropic's streams do: blocks, signatures, cumulative usage, second messages."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.anthropic import AnthropicDialect
from adapters.anthropic_stream import MAX_BLOCKS
from contracts.errors import StreamBroken
from contracts.events import Delta, End, Fault, Finish, Opened, Usage, UsageReport
from tests.adapters.conformance.told import told
from tests.fakes import anthropic_words
from tests.fakes.answers import Answer, Call

DATA = Path(__file__).parent / "data" / "recordings" / "anthropic"
ANTHROPIC = AnthropicDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-3")

START = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def block(index: int = 0, **piece: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": piece}


def delta(index: int = 0, **piece: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": piece}


def end(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str | None, **more: Any) -> dict[str, Any]:
    stop = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 3}, **more}


@pytest.fixture
def events(decode):
    return lambda *given: decode(ANTHROPIC, [anthropic_words.framed(list(given))])


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("a_new_one", "a_new_one"),
    ],
)
def test_each_stop_reason_has_its_word(events, reason, finish):
    assert Finish(reason=finish) in events(START, ending(reason), STOP)


def test_the_stop_sequence_that_was_met_is_named(events, normalise):
    stopped = ending("stop_sequence")
    stopped["delta"]["stop_sequence"] = "END"
    named = Finish(reason="stop", stop_sequence="END")
    assert named in events(START, stopped, STOP)
    assert named in normalise(events(START, stopped, STOP))


def test_a_message_delta_without_a_reason_is_no_finish(events, normalise):
    said = normalise(events(START, ending(None), STOP))
    assert isinstance(said[-1], Fault)


def test_counts_are_cumulative_and_what_concerns_the_cache_is_of_the_prompt(events):
    start = {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 700,
                "cache_creation_input_tokens": 50,
                "output_tokens": 1,
                "service_tier": "standard",
            }
        },
    }
    usage = {
        "input_tokens": 12,
        "cache_read_input_tokens": None,
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    said = events(start, ending("end_turn", usage=usage), STOP)
    assert said[0] == Opened(service_tier="default")
    counted = Usage(
        prompt_tokens=762,
        completion_tokens=30,
        cached_tokens=700,
        cache_write_tokens=50,
        reasoning_tokens=20,
    )
    assert UsageReport(usage=counted) in said


def test_signed_thinking_is_told_for_the_way_back(events):
    said = events(
        START,
        block(type="thinking", thinking="", signature=""),
        delta(type="thinking_delta", thinking="Hm"),
        delta(type="thinking_delta", thinking="."),
        delta(type="signature_delta", signature="s1"),
        delta(type="signature_delta", signature="s2"),
        end(),
        block(1, type="redacted_thinking", data="hidden"),
        end(1),
        ending("end_turn"),
        STOP,
    )
    details = [
        entry
        for event in said
        if isinstance(event, Delta) and event.extra
        for entry in json.loads(bytes(event.extra["reasoning_details"]))
    ]
    signed = {"format": "anthropic-claude-v1", "index": 0, "type": "reasoning.text"}
    hidden = {"format": "anthropic-claude-v1", "index": 1, "type": "reasoning.encrypted"}
    assert details == [
        {**signed, "text": "Hm.", "signature": "s1s2"},
        {**hidden, "data": "hidden"},
    ]


def test_thinking_without_a_signature_is_told_as_reasoning_only(events):
    said = events(START, block(type="thinking", thinking="Hm"), end(), ending("end_turn"), STOP)
    assert [event for event in said if isinstance(event, Delta)] == [Delta(reasoning="Hm")]


@pytest.mark.parametrize(
    "stops", [(end(0), end(1)), (end(1), end(0)), ()], ids=["in order", "late", "forgotten"]
)
def test_a_call_without_arguments_has_an_empty_object(events, normalise, stops):
    said = told(
        normalise(
            events(
                START,
                block(0, type="tool_use", id="a", name="f", input={}),
                delta(0, type="input_json_delta", partial_json=""),
                block(1, type="tool_use", id="b", name="g", input={"x": 1}),
                *stops,
                ending("tool_use"),
                STOP,
            )
        )
    )
    assert said.calls == [("a", "f", "{}"), ("b", "g", '{"x":1}')]


def test_anthropics_own_tools_are_passed_over(events, normalise):
    said = told(
        normalise(
            events(
                START,
                block(0, type="server_tool_use", id="s", name="web_search", input={}),
                delta(0, type="input_json_delta", partial_json='{"q":1}'),
                end(0),
                block(1, type="web_search_tool_result", tool_use_id="s", content=[]),
                end(1),
                block(2, type="text", text="Fo"),
                delta(2, type="citations_delta", citation={"type": "char_location"}),
                delta(2, type="text_delta", text="und"),
                end(2),
                ending("end_turn"),
                STOP,
            )
        )
    )
    assert (said.text, said.calls, said.finish) == ("Found", [], "stop")


def test_events_and_deltas_that_do_not_exist_yet_are_passed_over(events, normalise):
    said = told(
        normalise(
            events(
                {"type": "a_new_event", "index": 5},
                START,
                {"type": "ping"},
                block(type="text", text=""),
                delta(type="a_new_delta", value="x"),
                delta(7, type="text_delta", text="of no block"),
                delta(type="text_delta", text="a"),
                end(9),
                ending("end_turn"),
                STOP,
            )
        )
    )
    assert (said.text, said.whole) == ("a", True)


def test_a_second_message_inside_a_stream_is_a_broken_stream(decode, normalise):
    body = (DATA / "stream_spliced_message_start_2ac79b.sse").read_bytes()
    *_, last = normalise(decode(ANTHROPIC, [body]))
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)


def test_a_message_that_begins_again_before_it_said_anything_is_none(events, normalise):
    said = normalise(events(START, START, block(type="text", text="a"), ending("end_turn"), STOP))
    assert told(said).text == "a"


def test_after_the_end_of_the_message_nothing_is_read(events):
    said = events(START, ending("end_turn"), STOP, START, block(type="text", text="more"))
    assert said[-1] == End()


def test_an_error_event_ends_it(events):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    *_, last = events(START, block(type="text", text="a"), error, end())
    assert isinstance(last, Fault)
    assert (last.error.fault, last.error.message) == ("overload", "Overloaded")


@pytest.mark.parametrize(
    "frame",
    [
        b'event: error\ndata: {"detail":"gone"}\n\n',
        b'data: {"error":{"message":"gone","type":"server_error"}}\n\n',
    ],
)
def test_an_error_of_a_server_that_only_looks_alike_ends_it_too(decode, frame):
    *_, last = decode(ANTHROPIC, [frame])
    assert isinstance(last, Fault)
    assert last.error.message == "gone"


def test_an_event_that_is_not_json_breaks_the_stream(decode):
    *_, last = decode(ANTHROPIC, [b"event: ping\ndata: {oops\n\n"])
    assert isinstance(last, Fault)
    assert isinstance(last.error, StreamBroken)


def test_blocks_without_end_are_a_fault(events):
    *_, last = events(START, *(block(i, type="text", text="") for i in range(MAX_BLOCKS + 1)))
    assert isinstance(last, Fault)


def test_thinking_without_end_is_a_fault(events, monkeypatch):
    monkeypatch.setattr("adapters.anthropic_stream.MAX_THINKING_CHARS", 10)
    *_, last = events(
        START,
        block(type="thinking", thinking=""),
        delta(type="thinking_delta", thinking="x" * 11),
    )
    assert isinstance(last, Fault)


def test_a_refusal_tells_why(events):
    stop = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "No."}}
    said = events(START, {"type": "message_delta", "delta": stop}, STOP)
    assert said[1:3] == [Delta(refusal="No."), Finish(reason="content_filter")]


# -- whole messages ---------------------------------------------------------------------------

DOCUMENTS = sorted(p.name for p in DATA.glob("json_*.json") if "meta" not in p.name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_recorded_message_says_what_its_provider_said(decode, normalise, name):
    body = (DATA / name).read_bytes()
    raw = json.loads(body)
    said = told(normalise(decode(ANTHROPIC, [body], content_type="application/json")))
    blocks = raw["content"]
    assert said.text == "".join(b["text"] for b in blocks if b["type"] == "text")
    assert said.reasoning == "".join(b["thinking"] for b in blocks if b["type"] == "thinking")
    assert [(i, n, json.loads(a)) for i, n, a in said.calls] == [
        (b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"
    ]
    assert said.whole
    assert said.usage is not None
    assert said.usage.completion_tokens == raw["usage"]["output_tokens"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"content":', b'{"type":"message"}', b"\xff"])
def test_a_body_that_is_no_message_is_a_fault(decode, body):
    *_, last = decode(ANTHROPIC, [body], content_type="application/json")
    assert isinstance(last, Fault)


def test_a_200_with_an_error_in_it_is_a_fault(decode):
    body = anthropic_words.refusal("overloaded_error", "Overloaded").body
    (fault,) = decode(ANTHROPIC, [body], content_type="application/json; charset=utf-8")
    assert isinstance(fault, Fault)
    assert fault.error.fault == "overload"
    assert fault.error.upstream_status is None


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("invalid_request_error", ("client", 400)),
        ("rate_limit_error", ("rate_limit", 429)),
        ("timeout_error", ("timeout", 504)),
        ("api_error", ("upstream_bug", 502)),
    ],
)
def test_an_error_in_a_200_is_judged_by_its_type(decode, kind, told):
    body = anthropic_words.refusal(kind, "Oh no").body
    (fault,) = decode(ANTHROPIC, [body], content_type="application/json")
    assert isinstance(fault, Fault)
    assert (fault.error.fault, fault.error.status) == told


def test_a_message_without_content_is_not_called_an_error_of_the_engine(decode):
    (fault,) = decode(ANTHROPIC, [b'{"type":"message"}'], content_type="application/json")
    assert isinstance(fault, Fault)
    assert fault.error.message == "the engine's answer has no content"


def test_a_signed_thought_of_a_whole_message_comes_for_the_way_back(decode):
    answer = Answer(reasoning=("Hm.",), calls=(Call("a", "f", ("{}",)),), finish="tool_calls")
    body = anthropic_words.document(answer)
    said = decode(ANTHROPIC, [body], content_type="application/json")
    assert any(isinstance(event, Delta) and event.extra for event in said)
