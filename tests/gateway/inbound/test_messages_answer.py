"""Messages in Anthropic's words: what its SDK makes of the stream is what the whole one says."""

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic._models import construct_type_unchecked
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic_stream import StreamDecoder
from adapters.normalise import Normaliser
from contracts.errors import QueueFull, UpstreamFault
from contracts.events import Delta, End, Event, Finish, Opened, ToolCallDelta, Usage, UsageReport
from gateway.answers import Identity
from gateway.inbound.messages_answer import PING, MessagesVoice, MessageWriter, usage_object

pytestmark = pytest.mark.req("RUN-1", "RUN-3")

WHO = Identity(operation="chat", id="chatcmpl-0a", created_s=1, model="mine")
VOICE = MessagesVoice(prompt_tokens=9, stops=frozenset({"END"}))
USAGE = Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=6, reasoning_tokens=2)
RECORDED = [
    path
    for path in sorted(
        (Path(__file__).parents[2] / "adapters/data/recordings/anthropic").glob("stream_*.sse")
    )
    if b"server_tool" not in (raw := path.read_bytes())
    and b"mcp_tool" not in raw
    and raw.count(b"event: message_start") == raw.count(b"event: message_stop") == 1
]
"""Whole ones, of what clients carry out by themselves."""


def writer(max_bytes: int = 10_000) -> MessageWriter:
    return VOICE.writer(WHO, cost=lambda usage: None, max_bytes=max_bytes)


def frames(sent: bytes) -> list[dict[str, Any]]:
    told = []
    for block in sent.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        told.append(event)
    return told


def by_sdk(events: list[Any]) -> dict[str, Any]:
    """The message that the SDK makes of a stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if event["type"] != "ping":
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    told: dict[str, Any] = construct_type_unchecked(
        type_=Message, value=snapshot.to_dict()
    ).model_dump(mode="json")
    return told


def whole(events: list[Event]) -> dict[str, Any]:
    fold = VOICE.folding(WHO, max_bytes=1_000_000)
    fold.add(events)
    told: dict[str, Any] = json.loads(fold.body())
    return told


def ends(reason: str = "stop", **members: Any) -> list[Event]:
    return [Finish(reason=reason, **members), UsageReport(usage=USAGE), End()]


def call(index: int, arguments: str, name: str | None = None) -> Delta:
    piece = ToolCallDelta(index=index, id=f"c{index}", name=name, arguments=arguments)
    return Delta(tool_calls=(piece,))


def test_a_stream_has_anthropics_events_in_anthropics_order() -> None:
    told = frames(writer().write([Opened(), Delta(content="a"), *ends()]))
    assert [event["type"] for event in told] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    message = told[0]["message"]
    assert (message["id"], message["model"], message["content"]) == ("msg_0a", "mine", [])
    assert message["usage"] == {"input_tokens": 9, "output_tokens": 0}
    assert told[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert told[-2]["usage"]["input_tokens"] == 4


def test_the_model_is_the_one_that_answers() -> None:
    talk = writer()
    assert talk.write([Opened()]) == b""
    talk.served_by("other")
    assert frames(talk.write([Delta(content="a")]))[0]["message"]["model"] == "other"


def test_a_ping_is_one_that_sdks_pass_over() -> None:
    assert writer().heartbeat == PING
    assert frames(PING) == [{"type": "ping"}]


def test_a_failure_is_the_last_event_whether_or_not_the_message_has_begun() -> None:
    (event,) = frames(writer().failed(QueueFull("full"), "req_1"))
    assert (event["type"], event["error"]["type"]) == ("error", "rate_limit_error")
    assert event["request_id"] == "req_1"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("odd", "odd"),
    ],
)
def test_reasons_to_stop_have_anthropics_names(reason: str, told: str) -> None:
    message = whole([Delta(content="a"), *ends(reason)])
    assert message["stop_reason"] == told
    assert ("stop_details" in message) is (told == "refusal")


def test_a_refusal_is_one_whatever_it_ends_with() -> None:
    message = whole([Delta(refusal="No."), *ends()])
    assert message["stop_reason"] == "refusal"
    assert message["content"] == [{"type": "text", "text": "No."}]


@pytest.mark.parametrize(
    ("met", "reason", "told"),
    [
        ("END", "stop", ("stop_sequence", "END")),
        ("other", "stop", ("end_turn", None)),
        ("END", "length", ("max_tokens", None)),
    ],
)
def test_a_stop_sequence_is_one_of_the_clients(met: str, reason: str, told: Any) -> None:
    message = whole([Delta(content="a"), *ends(reason, stop_sequence=met)])
    assert (message["stop_reason"], message["stop_sequence"]) == told


def test_counts_leave_the_cache_out_and_what_is_not_known() -> None:
    assert usage_object(USAGE) == {
        "input_tokens": 4,
        "output_tokens": 4,
        "cache_read_input_tokens": 6,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    written = Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=6, cache_write_tokens=3)
    assert usage_object(written) == {
        "input_tokens": 1,
        "output_tokens": 4,
        "cache_read_input_tokens": 6,
        "cache_creation_input_tokens": 3,
    }
    plain = Usage(prompt_tokens=1, completion_tokens=2, estimated=True)
    assert usage_object(plain) == {"input_tokens": 1, "output_tokens": 2, "estimated": True}


def test_a_message_without_usage_ends_all_the_same() -> None:
    told = frames(writer().write([Finish(reason="stop"), End()]))
    assert [event["type"] for event in told] == ["message_start", "message_delta", "message_stop"]
    assert whole([Finish(reason="stop"), End()])["content"] == []


def test_arguments_that_are_no_object_are_an_error_unless_they_were_cut_off() -> None:
    broken = [call(0, '{"a": ', "f")]
    nested = [call(0, '{"a":' + "[" * 5000 + "]" * 5000 + "}", "f")]
    for told in (broken, nested):
        with pytest.raises(UpstreamFault):
            whole([*told, *ends("tool_calls")])
    assert whole([*broken, *ends("length")])["content"][0]["input"] == {}
    assert whole([call(0, "", "f"), *ends("tool_calls")])["content"][0]["input"] == {}


@pytest.mark.req("SEC-5")
def test_what_is_kept_is_bounded() -> None:
    fold = VOICE.folding(WHO, max_bytes=100)
    with pytest.raises(UpstreamFault):
        fold.add([Delta(content="x" * 200)])
    with pytest.raises(UpstreamFault):
        writer(max_bytes=3).write([call(0, '{"a":1}', "f")])


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda t: Delta(content=t), st.text(min_size=1, max_size=3)),
        st.builds(lambda t: Delta(reasoning=t), st.text(min_size=1, max_size=3)),
        st.builds(
            call, st.integers(0, 2), st.sampled_from(['{"a":1}', '{"b": "é"}']), st.just("f")
        ),
    ),
    max_size=8,
)


@given(deltas=EVENTS, cut=st.integers(0, 8))
def test_a_whole_message_is_its_stream_however_the_events_come(
    deltas: list[Delta], cut: int
) -> None:
    seen: set[int] = set()
    fresh: list[Event] = []
    for delta in deltas:  # each call once: its arguments are whole
        if delta.tool_calls and delta.tool_calls[0].index in seen:
            continue
        seen |= {piece.index for piece in delta.tool_calls}
        fresh.append(delta)
    events = [*fresh, *ends("tool_calls")]
    talk = writer()
    streamed = by_sdk(frames(talk.write(events[:cut]) + talk.write(events[cut:])))
    assert Message.model_validate(whole(events)).model_dump(mode="json") == streamed


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_message_is_told_on_as_it_was(recorded: Path) -> None:
    raw = recorded.read_bytes()
    normaliser = Normaliser(choices=1, prompt_tokens=1, new_id=lambda: "id", where="there")
    decoder = StreamDecoder()
    events = [*normaliser.push(decoder.feed(raw)), *normaliser.push(decoder.close())]
    ours = by_sdk(frames(writer(10**6).write(events)))
    theirs = by_sdk(
        [json.loads(line[5:]) for line in raw.decode().splitlines() if line[:5] == "data:"]
    )
    assert shown(ours["content"]) == shown(theirs["content"])
    assert ours["usage"]["output_tokens"] == theirs["usage"]["output_tokens"]


def shown(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is in them of what a chat has words for."""
    unsaid = ("citations", "caller")
    return [{n: v for n, v in block.items() if n not in unsaid} for block in blocks]
