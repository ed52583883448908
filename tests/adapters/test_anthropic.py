"""The Anthropic dialect as a whole; what it shares with all others is in `conformance`."""

import pytest

from adapters.anthropic import MODELS, AnthropicDialect
from adapters.dialect import AttemptContext, WireHead
from contracts.errors import UnsupportedParameter
from contracts.inference import Operation

ANTHROPIC = AnthropicDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


@pytest.mark.parametrize(
    ("operation", "member"), [("completion", "prompt"), ("embedding", "input")]
)
@pytest.mark.parametrize("unsupported", ["refuse", "drop"])
def test_what_is_no_chat_is_refused(make_request, operation: Operation, member, unsupported):
    infer = make_request(operation, **{member: "x"})
    with pytest.raises(UnsupportedParameter) as raised:
        ANTHROPIC.request(infer, AttemptContext(upstream_model="m", unsupported=unsupported))
    assert raised.value.param == member


def test_the_version_is_told_with_a_key_and_without():
    assert ANTHROPIC.access(None) == (("anthropic-version", "2023-06-01"),)
    assert ("x-api-key", "k") in ANTHROPIC.access("k")


@pytest.mark.parametrize(
    ("status", "body", "ready", "why"),
    [
        (200, b'{"data":[{"id":"claude-a","type":"model"}],"has_more":false}', True, "ok"),
        (200, b"not json", True, "ok"),
        (401, b"", False, "it refuses the API key"),
        (403, b"", False, "it refuses the API key"),
        (529, b"", False, "its model list answers 529"),
    ],
)
def test_readiness_is_what_the_model_list_says(status, body, ready, why):
    state = ANTHROPIC.state({MODELS: (WireHead(status=status, headers={}), body)})
    assert (state.live, state.ready, state.why) == (True, ready, why)


def test_it_tells_neither_queue_nor_count(make_request):
    assert ANTHROPIC.queue_s(WireHead(status=200, headers={})) is None
    assert ANTHROPIC.counting(make_request(), AttemptContext(upstream_model="m")) is None
