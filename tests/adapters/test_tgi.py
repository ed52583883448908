"""TGI's dialect as a whole; what it shares with all others is in `conformance`."""

import msgspec
import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.tgi import TgiDialect
from contracts.errors import UnsupportedParameter
from tests.fakes import openai_words, tgi_words
from tests.fakes.answers import Answer

TGI = TgiDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def state(info):
    ok = WireHead(status=200, headers={})
    models = openai_words.model_list("m")
    answers = {"/health": (ok, b""), "/v1/models": (ok, models)}
    return TGI.state(answers | ({"/info": (ok, info)} if info is not None else {}))


def test_its_limits_are_what_it_says_of_itself():
    told = state(tgi_words.info())
    assert (told.slots, told.context, told.version) == (128, 4096, "3.3.6")
    assert told.model_digest == "revision:0e9e39f249a16976918f6564b8830bc894c89659"


@pytest.mark.parametrize("info", [None, b"", b"[]", b"\xff", b"[" * 50_000, tgi_words.info(x=1)])
def test_without_them_it_is_ready_all_the_same(info):
    assert (state(info).ready, state(info).models) == (True, ("m",))


def test_embeddings_are_refused(make_request):
    with pytest.raises(UnsupportedParameter):
        TGI.request(make_request("embedding", input="x"), AttemptContext(upstream_model="m"))


def test_the_lower_limit_counts(make_request):
    infer = make_request(max_tokens=50, max_completion_tokens=40)
    wire = TGI.request(infer, AttemptContext(upstream_model="m", max_tokens=30))
    body = msgspec.json.decode(wire.body)
    assert body["max_tokens"] == 30
    assert "max_completion_tokens" not in body
    wire = TGI.request(make_request(), AttemptContext(upstream_model="m", max_tokens=30))
    assert msgspec.json.decode(wire.body)["max_tokens"] == 30


def test_a_stop_sequence_is_cut_off_and_the_usage_behind_it_kept(make_request, normalise):
    answer = Answer(text=("up to ", "here"), stop_sequence="END")
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    for operation, words in (("chat", tgi_words.stream), ("completion", tgi_words.text_stream)):
        decoder = TGI.decoder(
            make_request(operation, stop="END"), AttemptContext(upstream_model="m"), head
        )
        events = normalise(decoder.feed(words(answer, ending="END")) + decoder.close())
        said = "".join(e.content for e in events if hasattr(e, "content"))
        reasons = [e.reason for e in events if hasattr(e, "reason")]
        (usage,) = [e.usage for e in events if hasattr(e, "usage")]
        assert (said, reasons, usage) == ("up to here", ["stop"], answer.usage)


@pytest.mark.parametrize("operation", ["chat", "completion"])
def test_the_stop_sequences_that_were_sent_are_cut_off(make_request, operation):
    policy = AttemptContext(upstream_model="m", overrides={"stop": msgspec.Raw(b'["END"]')})
    asked = {"stop": "up"} | ({"prompt": "Once"} if operation == "completion" else {})
    infer = make_request(operation, **asked)
    body = msgspec.json.decode(TGI.request(infer, policy).body)
    assert body.get("parameters", body)["stop"] == ["END"]
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    decoder = TGI.decoder(infer, policy, head)
    words = tgi_words.stream if operation == "chat" else tgi_words.text_stream
    answer = Answer(text=("up to ", "here"), stop_sequence="END")
    events = decoder.feed(words(answer, ending="END")) + decoder.close()
    assert "".join(e.content for e in events if hasattr(e, "content")) == "up to here"
