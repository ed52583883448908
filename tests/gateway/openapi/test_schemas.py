"""What requests and answers look like."""

from typing import Any

import pytest

from gateway.openapi.schemas import component_schemas
from tests.support.described import CHAT, DOCUMENT, MODEL, validator


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ChatRequest", CHAT),
        ("CompletionRequest", {**MODEL, "prompt": "hi"}),
        ("EmbeddingRequest", {**MODEL, "input": ["hi"]}),
    ],
)
def test_requests_may_carry_members_that_are_not_described(name: str, body: Any) -> None:
    checker = validator(name, closed=False)
    assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is True
    assert checker.is_valid({**body, "min_p": 0.1, "grammar": {"any": ["thing"]}})
    assert not checker.is_valid({**body, "model": 5})


@pytest.mark.req("OPS-3", "RUN-3")
def test_options_of_a_stream_are_for_streams() -> None:
    checker = validator("ChatRequest", closed=False)
    options = {**CHAT, "stream_options": {"include_usage": True}}
    assert checker.is_valid({**options, "stream": True})
    assert not checker.is_valid({**options, "stream": False})
    assert list(component_schemas()) == sorted(component_schemas())
