"""Triton's generate extension as a whole; what it shares with all others is in `conformance`."""

import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.triton import INDEX, READY, SERVER, TritonDialect
from contracts.prompt_template import TEMPLATES
from tests.fakes import triton_words

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
