"""Output items are added, written and done once each, whatever comes in which order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UpstreamFault
from contracts.events import Delta, ToolCallDelta
from gateway.inbound.response_items import Items

pytestmark = pytest.mark.req("RUN-3")


def call(index: int, arguments: str = "", name: str | None = None) -> Delta:
    piece = ToolCallDelta(index=index, id=f"c{index}", name=name, arguments=arguments)
    return Delta(tool_calls=(piece,))


def told(*events: Delta, complete: bool = True) -> tuple[list[dict[str, Any]], list[Any]]:
    items = Items("x", max_bytes=100_000)
    said = [t for event in events for t in items.add(event)] + items.close(complete=complete)
    return said, items.output


def short(said: list[dict[str, Any]]) -> list[str]:
    return [f"{event['output_index']} {event['type'].removeprefix('response.')}" for event in said]


def test_text_is_a_message_with_a_part() -> None:
    said, output = told(Delta(content="a"), Delta(content="b"))
    assert short(said) == [
        "0 output_item.added",
        "0 content_part.added",
        "0 output_text.delta",
        "0 output_text.delta",
        "0 output_text.done",
        "0 content_part.done",
        "0 output_item.done",
    ]
    text = {"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}
    assert output == [
        {
            "id": "msg_x00",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }
    ]
    assert said[0]["item"]["content"] == []
    assert said[0]["item"]["status"] == "in_progress"


def test_a_refusal_is_a_part_of_its_own_in_the_same_message() -> None:
    said, output = told(Delta(content="a"), Delta(refusal="no"))
    assert [part["type"] for part in output[0]["content"]] == ["output_text", "refusal"]
    assert [event["content_index"] for event in said if "content_index" in event] == [
        *(0, 0, 0, 0),
        *(1, 1, 1, 1),
    ]
    assert said[-3]["refusal"] == "no"


def test_reasoning_and_calls_are_items() -> None:
    _, output = told(Delta(reasoning="hm"), call(0, '{"a":1}', "f"), call(1, "{}", "g"))
    assert [item["type"] for item in output] == ["reasoning", "function_call", "function_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert (output[0]["summary"], output[1]["call_id"]) == ([], "c0")
    assert (output[1]["arguments"], output[2]["name"]) == ('{"a":1}', "g")


def test_a_call_is_done_before_the_next_where_it_is_complete() -> None:
    said, _ = told(call(0, '{"a":1}', "f"), call(1, "{}", "g"))
    kinds = short(said)
    assert kinds.index("0 output_item.done") < kinds.index("1 output_item.added")


def test_calls_that_are_written_at_once_are_each_whole() -> None:
    said, output = told(call(0, '{"a"', "f"), call(1, "{", "g"), call(0, ":1}"), call(1, "}"))
    assert [item["arguments"] for item in output] == ['{"a":1}', "{}"]
    assert short(said)[-1] == "1 output_item.done"


def test_what_was_cut_off_is_incomplete_and_what_was_done_before_is_not() -> None:
    _, output = told(Delta(reasoning="hm"), Delta(content="a"), complete=False)
    assert [item["status"] for item in output] == ["completed", "incomplete"]


@pytest.mark.req("SEC-5")
def test_what_is_kept_is_bounded() -> None:
    items = Items("x", max_bytes=100)
    with pytest.raises(UpstreamFault):
        items.add(Delta(content="x" * 200))


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda t: Delta(content=t), st.text("ab", min_size=1, max_size=2)),
        st.builds(lambda t: Delta(reasoning=t), st.text("ab", min_size=1, max_size=2)),
        st.builds(lambda t: Delta(refusal=t), st.text("ab", min_size=1, max_size=2)),
        st.builds(
            call, st.integers(0, 2), st.sampled_from(["{", "}", '{"a":1}', ""]), st.just("f")
        ),
    ),
    max_size=12,
)


@given(events=EVENTS)
def test_items_are_numbered_in_order_and_their_deltas_are_what_is_done(events: list[Delta]) -> None:
    said, output = told(*events)
    texts: dict[tuple[int, int], str] = {}
    began, done = [], set()
    for event in said:
        index = event["output_index"]
        assert index not in done
        match event["type"].removeprefix("response."):
            case "output_item.added":
                began.append(index)
            case "output_item.done":
                done.add(index)
            case kind if kind.endswith(".delta"):
                place = index, event.get("content_index", 0)
                texts[place] = texts.get(place, "") + event["delta"]
            case _:
                pass
    assert began == list(range(len(began))) == sorted(done)
    for (index, part), text in texts.items():
        item = output[index]
        if item["type"] == "function_call":
            assert item["arguments"] == text
        else:
            shown = item["content"][part]
            assert shown.get("text", shown.get("refusal")) == text
