"""Triton's generate extension as a whole; what it shares with all others is in `conformance`."""

import msgspec
import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.triton import INDEX, READY, SERVER, TritonDialect
from contracts.events import Delta, Finish
from contracts.prompt_template import TEMPLATES
from tests.fakes import triton_words
from tests.fakes.answers import Answer

TRITON = TritonDialect()
OK = WireHead(status=200, headers={})
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("llm", "/v2/models/llm/generate_stream"),
        ("llm/versions/2", "/v2/models/llm/versions/2/generate_stream"),
        ("../../admin", "/v2/models/..%2F..%2Fadmin/generate_stream"),
        ("a b?c", "/v2/models/a%20b%3Fc/generate_stream"),
    ],
)
def test_a_model_is_a_part_of_the_path_and_no_more(make_request, model, path):
    context = AttemptContext(upstream_model=model, template=TEMPLATES["chatml"])
    assert TRITON.request(make_request(), context).path == path


def test_its_index_is_asked_by_post():
    assert TRITON.probes() == (READY, SERVER, INDEX)
    assert INDEX.startswith("POST /")


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 50_000, b'[{"x":1}]'])
def test_nonsense_in_its_index_is_no_model(body):
    state = TRITON.state({READY: (OK, b""), SERVER: (OK, body), INDEX: (OK, body)})
    assert (state.ready, state.models, state.version) == (True, (), None)


def test_only_models_that_are_ready_are_listed_and_each_once():
    index = triton_words.index("a", "a", "b", c="LOADING")
    assert TRITON.state({READY: (OK, b""), INDEX: (OK, index)}).models == ("a", "b")


@pytest.mark.parametrize(
    ("refused", "fault"),
    [
        (triton_words.model_error("boom before"), "upstream_bug"),
        (triton_words.refusal(400, "missing required input(s) ['max_tokens']"), "client"),
        (triton_words.refusal(501, "unsupported"), "client"),
    ],
)
def test_a_model_that_fails_is_told_from_a_request_that_is_wrong(refused, fault):
    head = WireHead(status=refused.status, headers={"content-type": refused.kind})
    assert TRITON.fault(head, refused.body).fault == fault


def read(make_request, answer, document=False, asked=None, **context):
    attempt = AttemptContext(upstream_model="m", template=TEMPLATES["chatml"], **context)
    infer = make_request(**(asked or {}))
    told = msgspec.json.decode(TRITON.request(infer, attempt).body)
    kind = "application/json" if document else "text/event-stream"
    decoder = TRITON.decoder(infer, attempt, WireHead(status=200, headers={"content-type": kind}))
    words = triton_words.document if document else triton_words.stream
    return told, decoder.feed(words(answer)) + decoder.close()


@pytest.mark.parametrize("document", [False, True])
@pytest.mark.parametrize(
    ("asked", "context"),
    [
        ({"max_tokens": 9}, {"max_tokens": 1}),
        ({"max_tokens": 9}, {"overrides": {"max_tokens": msgspec.Raw(b"1")}}),
        ({"max_completion_tokens": 1}, {}),
        ({}, {"context": 2}),
    ],
)
def test_an_answer_is_judged_by_the_limit_that_was_sent(make_request, document, asked, context):
    told, events = read(make_request, Answer(text=("one",)), document, asked, **context)
    assert told["max_tokens"] == 1
    assert Finish(reason="length") in events


def test_an_answer_below_the_limit_that_was_sent_ended_by_itself(make_request):
    longer = {"overrides": {"max_tokens": msgspec.Raw(b"9")}}
    _, events = read(make_request, Answer(text=("one",)), asked={"max_tokens": 1}, **longer)
    assert Finish(reason="stop") in events


def test_it_ends_at_the_stop_sequences_of_a_policy(make_request):
    policy = {"overrides": {"stop": msgspec.Raw(b'["two"]')}}
    asked = {"stop": ["one"]}
    told, events = read(make_request, Answer(text=("one ", "two ", "three")), asked=asked, **policy)
    assert "stop" not in told
    assert [event for event in events if isinstance(event, Delta)] == [Delta(content="one ")]
    assert Finish(reason="stop", stop_sequence="two") in events
