"""What only MLX does; what it shares with all others is in `conformance`."""

import msgspec
import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.mlx import DEFAULT_MODEL, MlxDialect
from contracts.errors import InvalidField, UnsupportedParameter
from contracts.events import Delta
from tests.fakes import mlx_words
from tests.fakes.answers import Answer

MLX = MlxDialect()
TOOL = {"type": "function", "function": {"name": "f"}}
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def body_of(make_request, unsupported="refuse", **members):
    wire = MLX.request(
        make_request(**members), AttemptContext(upstream_model="m", unsupported=unsupported)
    )
    return msgspec.json.decode(wire.body)


def fault(status, body):
    head = WireHead(status=status, headers={"content-type": "application/json"})
    return MLX.fault(head, body)


@pytest.mark.parametrize(
    ("status", "said", "kind", "shown"),
    [
        (404, mlx_words.NOT_FOUND, "not_found", 502),
        (404, "Cannot apply chat template to an empty conversation.", "client", 400),
        (404, "Only 'text' content type is supported.", "client", 400),
        (400, "max_tokens must be of type int", "client", 400),
        (503, "[METAL] out of memory", "unavailable", 503),
        (404, "generation thread died", "unavailable", 503),
        (500, "anything", "upstream_bug", 502),
    ],
)
def test_its_404_is_told_apart_by_its_text(status, said, kind, shown):
    found = fault(status, mlx_words.refusal(status, said).body)
    assert (found.fault, found.status) == (kind, shown)


def test_a_path_that_it_does_not_have_is_not_found():
    assert fault(404, mlx_words.no_route().body).fault == "not_found"


def test_it_is_not_told_stop_sequences(make_request):
    assert "stop" not in body_of(make_request, stop=["END"])


def test_what_comes_with_a_stop_sequence_and_after_it_is_not_counted(make_request):
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    attempt = AttemptContext(upstream_model="m", joins=True)
    decoder = MLX.decoder(make_request(stop=["END"]), attempt, head)
    texts = ("a", "b", "END", "c", "d")
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    events = decoder.feed(b"".join(b"data: %b\n\n" % msgspec.json.encode(c) for c in chunks))
    assert [event.pieces for event in events if isinstance(event, Delta)] == [1, 1]


def test_without_tools_there_are_no_calls(make_request):
    body = body_of(make_request, tools=[TOOL], tool_choice="none")
    assert not {"tools", "tool_choice"} & set(body)
    assert "tools" in body_of(make_request, tools=[TOOL], tool_choice="auto")


def test_a_demand_for_a_call_is_refused_or_dropped(make_request):
    with pytest.raises(UnsupportedParameter):
        body_of(make_request, tools=[TOOL], tool_choice="required")
    body = body_of(make_request, "drop", tools=[TOOL], tool_choice="required")
    assert "tools" in body
    assert "tool_choice" not in body


def test_an_answer_ends_at_a_policys_stop_sequences(make_request):
    attempt = AttemptContext(upstream_model="m", overrides={"stop": msgspec.Raw(b'"two"')})
    infer = make_request(stop="one")
    assert b"two" not in MLX.request(infer, attempt).body
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    decoder = MLX.decoder(infer, attempt, head)
    stream = mlx_words.stream(Answer(text=("one ", "two ", "three")))
    events = decoder.feed(stream) + decoder.close()
    assert "".join(e.content for e in events if hasattr(e, "content")) == "one "


@pytest.mark.parametrize("name", ["draft_model", "adapters", "role_mapping"])
def test_a_client_does_not_choose_what_it_loads(make_request, name):
    with pytest.raises(UnsupportedParameter):
        body_of(make_request, **{name: "someone/model"})


@pytest.mark.parametrize(
    ("name", "harmful", "harmless"),
    [
        ("top_k", 49152, 1000),
        ("xtc_threshold", 0.51, 0.5),
        ("seed", -1, 0),
        ("seed", 2**64, 2**64 - 1),
    ],
)
@pytest.mark.parametrize("operation", ["chat", "completion"])
def test_what_would_end_it_is_refused_or_dropped(make_request, operation, name, harmful, harmless):
    def body(value, unsupported):
        context = AttemptContext(upstream_model="m", unsupported=unsupported)
        wire = MLX.request(make_request(operation, **{name: value}), context)
        return msgspec.json.decode(wire.body), wire.dropped

    with pytest.raises(UnsupportedParameter) as raised:
        body(harmful, "refuse")
    assert raised.value.param == name
    left, dropped = body(harmful, "drop")
    assert name not in left
    assert dropped == (name,)
    assert body(harmless, "refuse") == (body(harmless, "drop")[0], ())
    assert body(harmless, "refuse")[0][name] == harmless


@pytest.mark.parametrize("name", ["top_k", "xtc_threshold", "seed"])
def test_a_number_that_is_none_is_named(make_request, name):
    with pytest.raises(InvalidField) as raised:
        body_of(make_request, **{name: "high"})
    assert raised.value.param == name


def test_log_probabilities_are_refused_since_its_streams_tell_none(make_request):
    with pytest.raises(UnsupportedParameter) as raised:
        body_of(make_request, logprobs=True, top_logprobs=2)
    assert raised.value.param == "logprobs"
    assert "logprobs" not in body_of(make_request, logprobs=False)


def answers(health=200, models=b""):
    def head(status):
        return WireHead(status=status, headers={})

    return {"/health": (head(health), b""), "/v1/models": (head(200), models)}


def test_one_request_at_a_time_is_advice_and_no_number_of_slots():
    state = MLX.state(answers(models=mlx_words.model_list("a")))
    assert (state.advised_slots, state.slots) == (1, None)


@pytest.mark.parametrize(
    ("listed", "models"),
    [
        (b"", (DEFAULT_MODEL,)),
        (mlx_words.model_list(), (DEFAULT_MODEL,)),
        (mlx_words.model_list("/srv/m", "mlx-community/a"), (DEFAULT_MODEL, "mlx-community/a")),
    ],
)
def test_the_model_it_was_started_with_has_a_name_without_a_path(listed, models):
    assert MLX.state(answers(models=listed)).models == models


def test_a_dead_generating_thread_is_not_ready():
    state = MLX.state(answers(health=503))
    assert (state.live, state.ready) == (True, False)


def test_embeddings_are_refused(make_request):
    with pytest.raises(UnsupportedParameter):
        MLX.request(make_request("embedding", input="x"), AttemptContext(upstream_model="m"))


def test_probabilities_of_a_text_are_refused_since_they_have_another_form(make_request):
    infer = make_request("completion", prompt="x", logprobs=3)
    with pytest.raises(UnsupportedParameter) as raised:
        MLX.request(infer, AttemptContext(upstream_model="m"))
    assert raised.value.param == "logprobs"
