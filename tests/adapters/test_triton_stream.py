"""Answers of Triton's generate extension."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.triton import TritonDialect
from adapters.triton_stream import DocumentDecoder, StreamDecoder
from contracts.events import Delta, End, Fault, Finish, Usage, UsageReport
from tests.fakes import triton_words
from tests.fakes.answers import Answer

pytestmark = pytest.mark.req("RUN-2", "RUN-3")
FAULT_OF = TritonDialect()._fault_of
ANSWER = Answer(
    text=("Once ", "京都"), finish="length", usage=Usage(prompt_tokens=9, completion_tokens=6)
)


def read(data, limit=99, size=1_000_000, close=True):
    decoder = StreamDecoder(FAULT_OF, limit)
    events = [e for i in range(0, len(data), size) for e in decoder.feed(data[i : i + size])]
    return events + decoder.close() if close else events


def test_the_end_of_the_body_is_the_end_of_the_answer():
    said = [Delta(content="Once "), Delta(content="京都")]
    assert read(triton_words.stream(ANSWER)) == [*said, Finish(reason="stop"), End()]


@given(cut=st.integers(0, 300), size=st.integers(1, 40))
def test_before_it_nothing_is_finished(cut, size):
    events = read(triton_words.stream(ANSWER)[:cut], size=size, close=False)
    assert all(isinstance(event, Delta) for event in events)


def test_a_body_without_a_response_is_no_answer():
    assert read(b"") == read(b": ping\n\n") == [End()]


@pytest.mark.parametrize(("limit", "reason"), [(1, "length"), (2, "length"), (3, "stop")])
def test_as_many_responses_as_tokens_were_asked_for_is_the_limit(limit, reason):
    assert Finish(reason=reason) in read(triton_words.stream(ANSWER), limit)


def test_tokens_that_are_counted_decide_and_not_how_they_were_cut():
    told = b'data: {"text_output":"a","num_input_tokens":1,"num_output_tokens":%d}\n\n'
    assert Finish(reason="length") in read(told % 2 + told % 1, limit=3)
    assert Finish(reason="stop") in read(told % 0 + told % 1, limit=2)


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_backend_that_tells_is_believed(finish):
    answer = Answer(text=ANSWER.text, finish=finish, usage=ANSWER.usage)
    events = read(triton_words.stream(answer, counted=True), limit=2)
    assert events[-3:] == [Finish(reason=finish), UsageReport(usage=ANSWER.usage), End()]


@pytest.mark.parametrize(
    "response",
    [
        b'{"text_output":["a"],"finish_reason":["stop"],"num_input_tokens":[1],"num_output_tokens":[2]}',
        b'{"text_output":"a","finish_reason":"stop","num_input_tokens":1,"num_output_tokens":2}',
    ],
)
def test_a_tensor_of_one_may_be_a_list(response):
    usage = Usage(prompt_tokens=1, completion_tokens=2)
    assert read(b"data: " + response + b"\n\n") == [
        Delta(content="a"),
        Finish(reason="stop"),
        UsageReport(usage=usage),
        End(),
    ]


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        (b'{"error":"boom"}', "upstream_bug"),
        (b'{"error":"This model\'s maximum context length is 9"}', "context_length"),
        (b'{"output_0":"a"}', "stream_broken"),
        (b"{broken", "stream_broken"),
    ],
)
def test_an_event_that_is_no_text_is_a_fault(event, fault):
    *_, last = read(triton_words.stream(ANSWER) + b"data: " + event + b"\n\n")
    assert isinstance(last, Fault)
    assert last.error.fault == fault


@given(data=st.binary(max_size=200))
def test_no_bytes_raise(data):
    read(data)
    read(b"data: " + data.replace(b"\n", b" ") + b"\n\n")


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (triton_words.document(ANSWER), True),
        (b'{"error":"generate expects model to produce exactly 1 response"}', False),
        (b"{}", False),
        (b"", False),
    ],
)
def test_a_document_may_be_an_error_whatever_its_status(body, whole):
    decoder = DocumentDecoder(FAULT_OF, limit=99)
    *_, last = decoder.feed(body) + decoder.close()
    assert isinstance(last, End if whole else Fault)
