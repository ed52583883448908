"""What TGI's Messages API writes otherwise."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tgi import TgiDialect
from adapters.tgi_chat import MAX_ARGUMENTS_CHARS, ChatStreamDecoder, fit_chat
from adapters.unsupported import Cannot
from contracts.errors import UnsupportedParameter
from contracts.events import Delta, End, Finish
from tests.fakes import tgi_words
from tests.fakes.answers import Answer, Call

pytestmark = pytest.mark.req("RUN-2", "RUN-3")
NAMED = {"type": "function", "function": {"name": "f"}}


def fitted(drop=False, **members):
    members.setdefault("messages", [{"role": "user", "content": "Hi"}])
    raw = {n: msgspec.Raw(msgspec.json.encode(v)) for n, v in members.items()}
    cannot = Cannot("tgi", "drop" if drop else "refuse")
    fit_chat(raw, cannot)
    return {n: msgspec.json.decode(v) for n, v in raw.items() if n != "messages"}, cannot.dropped


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": []}, {}),
        ({"max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9, "max_tokens": 5}, {"max_tokens": 5}),
        ({"top_p": 1}, {}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"presence_penalty": 0}, {}),
        ({"parallel_tool_calls": False}, {}),
        (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json", "value": {"type": "object"}}},
        ),
        ({"tools": [NAMED], "tool_choice": "required"}, None),
    ],
)
def test_members_are_written_as_it_reads_them(given, told):
    body, dropped = fitted(**given)
    assert dropped == ()
    if told is None:
        assert body["tool_choice"] == "required"
        (tool,) = body["tools"]
        assert tool["function"]["parameters"] == {"type": "object", "properties": {}}
    else:
        assert body == told


def test_a_presence_penalty_is_no_repetition_penalty():
    with pytest.raises(UnsupportedParameter) as raised:
        fitted(presence_penalty=0.5)
    assert raised.value.param == "presence_penalty"
    assert fitted(drop=True, presence_penalty=0.5) == ({}, ("presence_penalty",))


def test_a_choice_among_some_of_its_tools_is_refused():
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}
    with pytest.raises(UnsupportedParameter):
        fitted(tools=[NAMED], tool_choice=choice)
    body, dropped = fitted(drop=True, tools=[NAMED], tool_choice=choice)
    assert ("tool_choice" in body, dropped) == (False, ("tool_choice",))


def read(*chunks, close=True):
    decoder = ChatStreamDecoder(TgiDialect().fault_of)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close() if close else events


def call_stream(*pieces):
    answer = Answer(calls=(Call("x", "f", pieces),), finish="tool_calls")
    return tgi_words.stream(answer)


def finishes(events):
    return [event.reason for event in events if isinstance(event, Finish)]


def test_a_whole_call_ends_with_the_stream():
    events = read(call_stream('{"a"', ": 1}"))
    assert finishes(events) == ["tool_calls"]
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("pieces", [('{"a"', ": 1"), ("",), ("[1]",), ('{"a": 1}', "}")])
def test_a_call_that_is_no_object_does_not(pieces):
    assert finishes(read(call_stream(*pieces))) == []


def test_a_stream_that_is_not_done_does_not_either():
    whole = call_stream('{"a": 1}')
    assert finishes(read(whole.removesuffix(tgi_words.DONE))) == []


def test_a_finish_that_is_told_stands():
    answer = Answer(calls=(Call("x", "f", ('{"a": 1}',)),), finish="length")
    assert finishes(read(tgi_words.stream(answer))) == ["length"]


def test_a_call_without_bound_is_not_kept():
    piece = "a" * (MAX_ARGUMENTS_CHARS // 4)
    assert finishes(read(call_stream('{"a": "', *[piece] * 5, '"}'))) == []


def test_ids_that_all_calls_have_are_no_ids():
    (call,) = [p for e in read(call_stream("{}")) if isinstance(e, Delta) for p in e.tool_calls]
    assert call.id is None


@given(data=st.binary(max_size=200))
def test_no_bytes_raise(data):
    read(data, b"\n\ndata: [DONE]\n\n")
