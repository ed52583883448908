"""Dialects of engines that ignore what they do not know: what travels on, what is left out, what is refused."""

import msgspec
import pytest

from adapters.dialect import AttemptContext
from adapters.openai_subset import OpenAISubsetDialect, checked_messages, not_served
from adapters.unsupported import Cannot
from contracts.errors import UnsupportedParameter

pytestmark = pytest.mark.req("RUN-2")


class Half(OpenAISubsetDialect):
    engine = "half"
    takes = {"chat": frozenset({"messages", "seed", "max_tokens"})}


def asked(make_request, unsupported="refuse", overrides=None, **members):
    context = AttemptContext(
        upstream_model="real", unsupported=unsupported, overrides=overrides or {}
    )
    return Half().request(make_request(**members), context)


def body_of(wire):
    return msgspec.json.decode(wire.body)


def test_what_it_reads_travels_on(make_request):
    body = body_of(asked(make_request, seed=5, max_tokens=7))
    assert (body["model"], body["seed"], body["max_tokens"]) == ("real", 5, 7)
    assert body["stream"] is True


def test_what_asks_for_nothing_and_what_is_null_is_left_out(make_request):
    nothing = {"n": 1, "logit_bias": {}, "top_p": 1.0, "parallel_tool_calls": True, "seed": None}
    nothing["reasoning_effort"] = "none"  # no engine of this kind can be told to think
    wire = asked(make_request, **nothing)
    assert not set(nothing) & set(body_of(wire))
    assert wire.dropped == ()


def test_whatever_else_is_refused_or_dropped_by_name(make_request):
    with pytest.raises(UnsupportedParameter) as raised:
        asked(make_request, top_k=5)
    assert raised.value.param == "top_k"
    wire = asked(make_request, "drop", top_k=5, seed=1)
    assert wire.dropped == ("top_k",)
    assert set(body_of(wire)) == {"model", "messages", "seed", "stream", "stream_options"}


@pytest.mark.parametrize("unsupported", ["refuse", "drop"])
def test_several_answers_are_always_refused(make_request, unsupported):
    with pytest.raises(UnsupportedParameter) as raised:
        asked(make_request, unsupported, n=2)
    assert raised.value.param == "n"


def test_what_a_policy_sets_is_judged_as_what_a_client_asks(make_request):
    assert body_of(asked(make_request, overrides={"seed": msgspec.Raw(b"9")}))["seed"] == 9
    with pytest.raises(UnsupportedParameter):
        asked(make_request, overrides={"top_k": msgspec.Raw(b"9")})


@pytest.mark.parametrize(("operation", "param"), [("completion", "prompt"), ("embedding", "input")])
def test_an_operation_that_it_does_not_have_is_refused(make_request, operation, param):
    with pytest.raises(UnsupportedParameter) as raised:
        Half().request(make_request(operation), AttemptContext(upstream_model="m"))
    assert raised.value.param == param == not_served("half", operation).param


def messages(*parts):
    return {"messages": msgspec.Raw(msgspec.json.encode([{"role": "user", "content": parts}]))}


def test_parts_that_it_cannot_read_are_refused_with_their_place():
    text = {"type": "text", "text": ""}
    image = {"type": "image_url", "image_url": {"url": "https://e.example/a.png"}}
    cannot = Cannot("half", "drop")
    assert len(checked_messages(messages(text, image), cannot, images=True)) == 1
    with pytest.raises(UnsupportedParameter) as raised:
        checked_messages(messages(text, image), cannot, images=False)
    assert raised.value.param == "messages[0].content[1]"
    with pytest.raises(UnsupportedParameter):
        checked_messages(messages({"type": "input_audio"}), cannot, images=True)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages[0].function_call"),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "messages[0].audio"),
        ({"role": "function", "name": "f", "content": "1"}, "messages[0].role"),
    ],
)
def test_what_it_would_pass_over_in_a_message_is_refused_with_its_place(message, param):
    given = {"messages": msgspec.Raw(msgspec.json.encode([message]))}
    with pytest.raises(UnsupportedParameter) as raised:
        checked_messages(given, Cannot("half", "drop"), images=True)
    assert raised.value.param == param
