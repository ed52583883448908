"""Text completions by TGI's `generate_stream`."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import AttemptContext
from adapters.openai_subset import LABELS
from adapters.tgi import TgiDialect
from adapters.tgi_text import GenerateDecoder, GenerateDocumentDecoder, generate_request
from contracts.errors import InvalidField, UnsupportedParameter
from contracts.events import Delta, End, Fault, Finish, UsageReport
from tests.fakes import tgi_words
from tests.fakes.answers import Answer

pytestmark = pytest.mark.req("RUN-2", "RUN-3")
FAULT_OF = TgiDialect().fault_of


def asked(make_request, unsupported="refuse", cap=None, **members):
    context = AttemptContext(upstream_model="m", unsupported=unsupported, max_tokens=cap)
    infer = make_request("completion", **{"prompt": "Once", **members})
    body, dropped = generate_request(infer, context, "tgi")
    return msgspec.json.decode(body), dropped


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"do_sample": True}),
        ({"temperature": 0}, {"do_sample": False}),
        ({"temperature": 0.5}, {"do_sample": True, "temperature": 0.5}),
        ({"top_p": 1}, {"do_sample": True}),
        ({"top_p": 0.9}, {"do_sample": True, "top_p": 0.9}),
        ({"max_tokens": 7}, {"do_sample": True, "max_new_tokens": 7}),
        ({"stop": "END"}, {"do_sample": True, "stop": ["END"]}),
        ({"seed": 5, "typical_p": 0.5}, {"do_sample": True, "seed": 5, "typical_p": 0.5}),
        ({"n": 1, "best_of": 1, "echo": False}, {"do_sample": True}),
        (dict.fromkeys(LABELS, "u"), {"do_sample": True}),
    ],
)
def test_members_become_parameters(make_request, given, told):
    body, dropped = asked(make_request, **given)
    assert body == {"inputs": "Once", "parameters": {"details": True, **told}}
    assert dropped == ()


def test_the_lower_limit_counts(make_request):
    body, _ = asked(make_request, cap=5, max_tokens=7)
    assert body["parameters"]["max_new_tokens"] == 5


@pytest.mark.parametrize("name", ["suffix", "logprobs", "echo", "best_of", "presence_penalty"])
def test_what_it_cannot_do_is_refused_or_dropped_by_name(make_request, name):
    value = True if name == "echo" else 3
    with pytest.raises(UnsupportedParameter) as raised:
        asked(make_request, **{name: value})
    assert raised.value.param == name
    body, dropped = asked(make_request, "drop", **{name: value})
    assert dropped == (name,)
    assert name not in body["parameters"]


def test_several_answers_and_no_prompt_are_refused(make_request):
    with pytest.raises(UnsupportedParameter):
        asked(make_request, "drop", n=2)
    with pytest.raises(InvalidField):
        asked(make_request, prompt="")


ANSWER = Answer(text=("Once ", "京都"), finish="length")


def read(data, size=1_000_000):
    decoder = GenerateDecoder(FAULT_OF)
    events = [e for i in range(0, len(data), size) for e in decoder.feed(data[i : i + size])]
    return events + decoder.close()


def test_the_last_token_says_how_it_ended():
    assert read(tgi_words.text_stream(ANSWER)) == [
        Delta(content="Once "),
        Delta(content="京都"),
        Finish(reason="length"),
        UsageReport(usage=ANSWER.usage),
        End(),
    ]


@given(size=st.integers(1, 60))
def test_cutting_the_bytes_changes_nothing(size):
    stream = tgi_words.text_stream(ANSWER)
    assert read(stream, size) == read(stream)


def test_a_stream_without_its_last_token_has_no_finish():
    stream = tgi_words.text_stream(ANSWER)
    cut = stream[: stream.rindex(b"data:")]
    assert read(cut) == [Delta(content="Once "), Delta(content="京都"), End()]


def test_an_error_comes_after_what_was_said():
    *said, last = read(tgi_words.text_broken_by(ANSWER, "Model is overloaded", "overloaded"))
    assert said == [Delta(content="Once "), Delta(content="京都")]
    assert isinstance(last, Fault)
    assert last.error.fault == "overload"


@given(data=st.binary(max_size=200))
def test_no_bytes_raise(data):
    read(data)
    read(b"data: " + data.replace(b"\n", b" ") + b"\n\n")


def whole(body):
    decoder = GenerateDocumentDecoder(FAULT_OF)
    return decoder.feed(body) + decoder.close()


def test_a_whole_answer_counts_its_prompt_by_its_tokens():
    assert whole(tgi_words.text_document(ANSWER)) == [
        Delta(content="Once 京都"),
        Finish(reason="length"),
        UsageReport(usage=ANSWER.usage),
        End(),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"error":"Model is overloaded"}'])
def test_one_that_is_none_is_a_fault(body):
    (event,) = whole(body)
    assert isinstance(event, Fault)
