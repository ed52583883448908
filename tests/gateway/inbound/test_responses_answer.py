"""Responses in OpenAI's words: what its SDK makes of the stream is what the whole one says."""

import json
from typing import Any

import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from contracts.errors import QueueFull, UpstreamFault
from contracts.events import Delta, End, Event, Finish, Opened, ToolCallDelta, Usage, UsageReport
from gateway.answers import HEARTBEAT, Identity
from gateway.inbound.responses_answer import ResponsesVoice, usage_object
from gateway.inbound.responses_request import read_responses

pytestmark = pytest.mark.req("RUN-1", "RUN-3")

WHO = Identity(operation="chat", id="chatcmpl-0a", created_s=7, model="mine")
_, REPEATED, _ = read_responses(
    b'{"model":"m","input":"Hi","temperature":0.5}', request_id="r", key="", headers={}
)
VOICE = ResponsesVoice(repeated=REPEATED)
USAGE = Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=6, reasoning_tokens=2)
ANY_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ANSWER: list[Event] = [
    Opened(),
    Delta(reasoning="hm"),
    Delta(content="Hel"),
    Delta(content="lo"),
    Delta(tool_calls=(ToolCallDelta(index=0, id="c0", name="f", arguments='{"a":1}'),)),
]


def ends(reason: str = "stop") -> list[Event]:
    return [Finish(reason=reason), UsageReport(usage=USAGE), End()]


def writer() -> Any:
    return VOICE.writer(WHO, cost=lambda usage: None, max_bytes=10_000)


def frames(sent: bytes) -> list[dict[str, Any]]:
    told = []
    for block in sent.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        told.append(event)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


def whole(events: list[Event]) -> dict[str, Any]:
    fold = VOICE.folding(WHO, max_bytes=10_000)
    fold.add(events)
    told: dict[str, Any] = json.loads(fold.body())
    return told


@pytest.mark.parametrize("cut", range(len(ANSWER) + 3))
def test_the_sdk_makes_of_the_stream_what_the_whole_one_says(cut: int) -> None:
    events = [*ANSWER, *ends()]
    talk = writer()
    told = frames(talk.write(events[:cut]) + talk.write(events[cut:]))
    state: Any = ResponseStreamState(text_format=omit, input_tools=omit)
    seen = [s for event in told for s in state.handle_event(ANY_EVENT.validate_python(event))]
    assert [event["type"] for event in told].count("response.completed") == 1
    assert seen[-1].type == "response.completed"
    final = seen[-1].response
    message = Response.model_validate(whole(events))
    assert final.output_text == message.output_text == "Hello"
    assert told[-1]["response"] == whole(events)
    assert [item.type for item in message.output] == ["reasoning", "message", "function_call"]


def test_a_response_repeats_what_was_asked_and_says_that_nothing_is_stored() -> None:
    told = whole([*ANSWER, *ends()])
    assert (told["id"], told["created_at"], told["model"]) == ("resp_0a", 7, "mine")
    assert (told["temperature"], told["store"], told["previous_response_id"]) == (0.5, False, None)


def test_the_model_is_the_one_that_answers() -> None:
    talk = writer()
    assert talk.write([Opened()]) == b""
    talk.served_by("other")
    assert frames(talk.write([Delta(content="a")]))[0]["response"]["model"] == "other"
    assert talk.heartbeat == HEARTBEAT


@pytest.mark.parametrize(
    ("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_off_is_incomplete(reason: str, why: str) -> None:
    told = frames(writer().write([Delta(content="a"), *ends(reason)]))
    assert told[-1]["type"] == "response.incomplete"
    assert told[-1]["response"]["incomplete_details"] == {"reason": why}
    assert told[-1]["response"]["output"][0]["status"] == "incomplete"


def test_every_count_is_there_since_the_sdks_want_it() -> None:
    assert usage_object(USAGE) == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 14,
    }
    plain = usage_object(Usage(prompt_tokens=1, completion_tokens=2, estimated=True))
    assert plain["estimated"] is True


def test_a_response_without_usage_ends_all_the_same() -> None:
    told = whole([Finish(reason="stop"), End()])
    assert (told["status"], told["usage"], told["output"]) == ("completed", None, [])


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("said", [[], ANSWER])
def test_a_failure_is_told_twice_once_for_each_kind_of_client(said: list[Event]) -> None:
    talk = writer()
    told = frames(talk.write(said) + talk.failed(QueueFull("full"), "req_1"))
    assert told[0]["type"] == "response.created"
    error, failed = told[-2:]
    assert (error["type"], error["code"], error["error"]["code"]) == (
        "error",
        "queue_full",
        "queue_full",
    )
    assert error["error"]["request_id"] == "req_1"
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "queue_full", "message": "full"}
    for event in told:
        ANY_EVENT.validate_python(
            {**event, "response": {**event["response"], "error": None}}
            if "response" in event
            else event
        )


@pytest.mark.req("SEC-5")
def test_what_is_kept_is_bounded() -> None:
    fold = VOICE.folding(WHO, max_bytes=100)
    with pytest.raises(UpstreamFault):
        fold.add([Delta(content="x" * 200)])
