"""What only Triton's OpenAI frontend does; what it shares with all others is in `conformance`."""

import msgspec
import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.triton_openai import TritonOpenAIDialect
from contracts.errors import UnsupportedParameter
from contracts.events import End, Finish, Usage, UsageReport
from tests.fakes import triton_words
from tests.fakes.answers import Answer

FRONTEND = TritonOpenAIDialect()
ONE = {"type": "function", "function": {"name": "f"}}
TWO = {"type": "function", "function": {"name": "g"}}
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def body_of(make_request, operation="chat", **members):
    wire = FRONTEND.request(make_request(operation, **members), AttemptContext(upstream_model="m"))
    return msgspec.json.decode(wire.body)


def test_a_demand_is_for_the_first_tool_so_it_may_not_be_one_of_several(make_request):
    assert body_of(make_request, tools=[ONE], tool_choice="required")["tool_choice"] == "required"
    with pytest.raises(UnsupportedParameter):
        body_of(make_request, tools=[ONE, TWO], tool_choice="required")
    assert body_of(make_request, tools=[ONE, TWO], tool_choice=TWO)["tool_choice"] == TWO


def test_texts_and_embeddings_are_asked_too(make_request):
    assert body_of(make_request, "completion", prompt="Once", echo=True)["echo"] is True
    assert body_of(make_request, "embedding", input="x")["input"] == "x"
    with pytest.raises(UnsupportedParameter):
        body_of(make_request, "completion", prompt="Once", suffix="x")


def events_of(make_request, completion_tokens, asked, **context):
    usage = Usage(prompt_tokens=1, completion_tokens=completion_tokens)
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    attempt = AttemptContext(upstream_model="m", **context)
    decoder = FRONTEND.decoder(make_request(**asked), attempt, head)
    stream = triton_words.openai_stream(Answer(text=("a", "b"), usage=usage))
    return decoder.feed(stream) + decoder.close()


FIVE = {"max_tokens": msgspec.Raw(b"5")}


@pytest.mark.parametrize(
    ("asked", "context", "tokens", "reason"),
    [
        ({"max_tokens": 5}, {}, 5, "length"),
        ({"max_tokens": 5}, {}, 4, "stop"),
        ({}, {}, 5, "stop"),
        ({}, {"max_tokens": 5}, 5, "length"),
        ({"max_tokens": 9}, {"max_tokens": 5}, 5, "length"),
        ({"max_tokens": 9}, {"overrides": FIVE}, 5, "length"),
        ({"max_tokens": 2}, {"overrides": FIVE}, 2, "stop"),
        ({"max_tokens": 9, "max_completion_tokens": 5}, {}, 5, "length"),
    ],
)
def test_an_answer_as_long_as_the_limit_that_was_sent_was_cut_off(
    make_request, normalise, asked, context, tokens, reason
):
    *_, finish, usage, end = normalise(events_of(make_request, tokens, asked, **context))
    assert finish == Finish(reason=reason)
    assert isinstance(usage, UsageReport)
    assert isinstance(end, End)


def test_of_two_limits_the_lower_is_sent(make_request):
    body = body_of(make_request, max_tokens=9, max_completion_tokens=5)
    assert body["max_tokens"] == 5
    assert "max_completion_tokens" not in body


def test_without_a_usage_it_is_believed(make_request, normalise):
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    decoder = FRONTEND.decoder(make_request(max_tokens=1), AttemptContext(upstream_model="m"), head)
    *chunks, _usage, _done, _ = triton_words.openai_stream(Answer(text=("a",))).split(b"\n\n")
    events = decoder.feed(b"\n\n".join([*chunks, b"data: [DONE]", b""])) + decoder.close()
    assert Finish(reason="stop") in normalise(events)


@pytest.mark.parametrize(
    ("status", "said", "fault"),
    [
        (400, "Unknown model: nope", "not_found"),
        (400, "logit bias is not currently supported", "client"),
        (422, [{"loc": ["body", "x"], "msg": "Extra inputs are not permitted"}], "client"),
        (500, "Unknown tokenizer", "upstream_bug"),
        (503, "", "unavailable"),
    ],
)
def test_its_detail_means(status, said, fault):
    head = WireHead(status=status, headers={"content-type": "application/json"})
    assert FRONTEND.fault(head, triton_words.detail(status, said).body).fault == fault
