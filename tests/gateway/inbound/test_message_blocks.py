"""Blocks are begun, added to and stopped once each, whatever comes in which order."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic_conversation import SIGNED_BY
from contracts.errors import UpstreamFault
from contracts.events import Delta, ToolCallDelta
from gateway.inbound.message_blocks import Blocks

pytestmark = pytest.mark.req("RUN-3")


def details(**entry: str) -> Delta:
    raw = msgspec.Raw(msgspec.json.encode([{"format": SIGNED_BY, **entry}]))
    return Delta(extra={"reasoning_details": raw})


def call(index: int, arguments: str = "", name: str | None = None) -> Delta:
    piece = ToolCallDelta(index=index, id=f"c{index}", name=name, arguments=arguments)
    return Delta(tool_calls=(piece,))


def told(*events: Delta) -> list[dict[str, Any]]:
    blocks = Blocks(max_bytes=10_000)
    return [t for event in events for t in blocks.add(event)] + blocks.close()


def short(events: list[dict[str, Any]]) -> list[str]:
    """`+0 text`, `0 text_delta`, `-0`."""
    lines = []
    for event in events:
        match event["type"]:
            case "content_block_start":
                lines.append(f"+{event['index']} {event['content_block']['type']}")
            case "content_block_delta":
                lines.append(f"{event['index']} {event['delta']['type']}")
            case _:
                lines.append(f"-{event['index']}")
    return lines


def test_each_kind_of_content_is_a_block_of_its_own() -> None:
    events = (
        Delta(reasoning="hm"),
        Delta(content="a"),
        Delta(content="b"),
        call(0, "{}", "f"),
        Delta(content="c"),
    )
    assert short(told(*events)) == [
        *("+0 thinking", "0 thinking_delta", "-0"),
        *("+1 text", "1 text_delta", "1 text_delta", "-1"),
        *("+2 tool_use", "2 input_json_delta", "-2"),
        *("+3 text", "3 text_delta", "-3"),
    ]


def test_a_call_is_stopped_before_the_next_where_it_is_complete() -> None:
    assert short(told(call(0, '{"a":1}', "f"), call(1, "{}", "g"))) == [
        *("+0 tool_use", "0 input_json_delta", "-0"),
        *("+1 tool_use", "1 input_json_delta", "-1"),
    ]


def test_calls_that_are_written_at_once_stay_open() -> None:
    mixed = told(call(0, '{"a"', "f"), call(1, "{", "g"), call(0, ":1}"), call(1, "}"))
    assert short(mixed)[-2:] == ["-0", "-1"]
    for index, whole in enumerate(('{"a":1}', "{}")):
        pieces = [e["delta"]["partial_json"] for e in mixed if "delta" in e and e["index"] == index]
        assert "".join(pieces) == whole


def test_thinking_that_was_signed_keeps_its_signature() -> None:
    events = told(Delta(reasoning="hm"), details(text="hm", signature="s1"), Delta(reasoning="so"))
    assert short(events) == [
        *("+0 thinking", "0 thinking_delta", "0 signature_delta", "-0"),
        *("+1 thinking", "1 thinking_delta", "-1"),
    ]
    assert events[2]["delta"]["signature"] == "s1"


def test_thinking_that_is_not_shown_is_passed_on() -> None:
    events = told(details(data="xyz"))
    assert short(events) == ["+0 redacted_thinking", "-0"]
    assert events[0]["content_block"]["data"] == "xyz"
    assert short(told(details(signature="s"))) == ["+0 thinking", "0 signature_delta", "-0"]


@pytest.mark.parametrize(
    "raw",
    [
        b"[1]",
        b'{"a":1}',
        b'[{"format":"other","signature":"s"}]',
        pytest.param(b'[{"a":' + b"[" * 5000 + b"]" * 5000 + b"}]", id="deep"),
    ],
)
def test_details_of_somebody_elses_are_passed_over(raw: bytes) -> None:
    events = told(Delta(content="a", extra={"reasoning_details": msgspec.Raw(raw)}))
    assert short(events) == ["+0 text", "0 text_delta", "-0"]


def test_a_refusal_is_shown_as_text() -> None:
    assert told(Delta(refusal="no"))[1]["delta"] == {"type": "text_delta", "text": "no"}


def test_arguments_are_kept_up_to_a_bound() -> None:
    blocks = Blocks(max_bytes=5)
    blocks.add(Delta(content="long text is not kept"))
    with pytest.raises(UpstreamFault):
        blocks.add(call(0, '{"a": 1234}', "f"))


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda t: Delta(content=t), st.text("ab", min_size=1, max_size=2)),
        st.builds(lambda t: Delta(reasoning=t), st.text("ab", min_size=1, max_size=2)),
        st.builds(
            call, st.integers(0, 2), st.sampled_from(["{", "}", '{"a":1}', ""]), st.just("f")
        ),
        st.sampled_from([details(text="x", signature="s"), details(data="d")]),
    ),
    max_size=12,
)


@given(events=EVENTS)
def test_blocks_are_numbered_in_order_and_nothing_comes_after_a_stop(events: list[Delta]) -> None:
    began, stopped = [], set()
    for event in told(*events):
        index = event["index"]
        assert index not in stopped
        match event["type"]:
            case "content_block_start":
                began.append(index)
            case "content_block_stop":
                stopped.add(index)
            case _:
                assert index in began
    assert began == list(range(len(began)))
    assert stopped == set(began)
