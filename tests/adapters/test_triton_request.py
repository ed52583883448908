"""What Triton's generate extension is asked."""

import msgspec
import pytest

from adapters.dialect import AttemptContext
from adapters.triton_request import MAX_TOKENS, TOLD, generate_request
from contracts.errors import InvalidField, UnsupportedParameter
from contracts.prompt_template import TEMPLATES

pytestmark = pytest.mark.req("RUN-2")


def asked(infer, **context):
    context.setdefault("template", TEMPLATES["chatml"])
    body, dropped = generate_request(infer, AttemptContext(upstream_model="m", **context))
    return msgspec.json.decode(body), dropped


def test_a_text_goes_as_it_is_with_all_that_backends_may_tell(make_request):
    body, dropped = asked(make_request("completion", prompt="Once", max_tokens=5))
    assert body == {
        "id": "req-1",
        "text_input": "Once",
        "stream": True,
        "max_tokens": 5,
        **dict.fromkeys(TOLD, True),
    }
    assert dropped == ()


def test_numbers_keep_their_spelling(make_request):
    infer = make_request(temperature=0.5)
    infer.members["temperature"] = msgspec.Raw(b"5e-1")
    body, _ = generate_request(
        infer, AttemptContext(upstream_model="m", template=TEMPLATES["chatml"])
    )
    assert b'"temperature":5e-1' in body


@pytest.mark.parametrize(
    ("context", "limit"), [(None, MAX_TOKENS), (100_000, MAX_TOKENS), (600, 300), (1, 1)]
)
def test_a_client_without_a_limit_gets_one_that_fits(make_request, context, limit):
    assert asked(make_request(), context=context)[0]["max_tokens"] == limit


def test_the_lowest_limit_counts(make_request):
    assert asked(make_request(max_tokens=9), max_tokens=4)[0]["max_tokens"] == 4


def test_a_limit_beyond_32_bits_is_no_other_limit(make_request):
    assert asked(make_request(max_tokens=2**31))[0]["max_tokens"] == 2**31 - 1


def test_a_trailing_answer_is_continued(make_request):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = asked(make_request(messages=talk), continues=True)[0]["text_input"]
    assert text.endswith("<|im_start|>assistant\nb")


def test_without_a_template_no_chat_is_written(make_request):
    with pytest.raises(UnsupportedParameter) as raised:
        asked(make_request(), template=None, unsupported="drop")
    assert raised.value.param == "messages"


@pytest.mark.parametrize(
    ("infer", "param"), [({"n": 2}, "n"), ({"tools": [{"type": "function"}]}, "tools")]
)
def test_what_it_cannot_do_is_refused(make_request, infer, param):
    with pytest.raises(UnsupportedParameter) as raised:
        asked(make_request(**infer))
    assert raised.value.param == param


def test_embeddings_are_refused(make_request):
    with pytest.raises(UnsupportedParameter):
        asked(make_request("embedding", input="x"))


def test_stop_sequences_stay_here_and_a_policys_too(make_request):
    assert "stop" not in asked(make_request(stop=["END"]))[0]
    assert "stop" not in asked(make_request(), overrides={"stop": msgspec.Raw(b'"x"')})[0]
    with pytest.raises(InvalidField):
        asked(make_request(), overrides={"stop": msgspec.Raw(b"5")})
