"""What llama.cpp's server would pass over without a word."""

import json
from typing import Any

import msgspec
import pytest

from adapters.dialect import AttemptContext
from adapters.llamacpp import LlamaCppDialect
from contracts.errors import InvalidField, UnsupportedParameter

LLAMACPP = LlamaCppDialect()
pytestmark = pytest.mark.req("RUN-2", "ENG-1")
TOOL = {"type": "function", "function": {"name": "f"}}
NAMED = {"type": "function", "function": {"name": "g"}}


def asked(make_request, context: dict[str, Any] | None = None, **members: Any) -> tuple[Any, Any]:
    attempt = AttemptContext(upstream_model="m", **(context or {}))
    wire = LLAMACPP.request(make_request(**members), attempt)
    return json.loads(wire.body), wire.dropped


def test_tools_that_its_template_has_no_place_for_are_refused_or_dropped(make_request):
    wants = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    with pytest.raises(UnsupportedParameter) as raised:
        asked(make_request, {"tools": False}, **wants)
    assert raised.value.param == "tools"
    body, dropped = asked(make_request, {"tools": False, "unsupported": "drop"}, **wants)
    assert dropped == ("tools",)
    assert not wants.keys() & body.keys()
    for known in (True, None):
        assert wants.items() <= asked(make_request, {"tools": known}, **wants)[0].items()
    assert asked(make_request, {"tools": False}, tools=[])[1] == ()


def test_who_wants_no_calls_gets_none_in_its_text_either(make_request):
    body, dropped = asked(make_request, {"tools": False}, tools=[TOOL], tool_choice="none")
    assert not {"tools", "tool_choice"} & body.keys()
    assert dropped == ()


def test_a_function_that_was_not_declared_cannot_be_demanded(make_request):
    with pytest.raises(InvalidField) as raised:
        asked(make_request, tools=[TOOL], tool_choice=NAMED)
    assert raised.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"type": "json_object"}, {"type": "json_object", "schema": {"type": "object"}}),
        ({"type": "json_object", "schema": {"a": 1}}, {"type": "json_object", "schema": {"a": 1}}),
        ({"type": "text"}, {"type": "text"}),
        (5, 5),
    ],
)
def test_any_json_is_asked_for_by_a_schema_without_which_it_gives_prose(make_request, wanted, told):
    assert asked(make_request, response_format=wanted)[0]["response_format"] == told


def test_what_a_policy_sets_is_told_in_the_same_way(make_request):
    overrides = {
        "response_format": msgspec.Raw(b'{"type":"json_object"}'),
        "max_tokens": msgspec.Raw(b"5"),
    }
    body, _ = asked(make_request, {"overrides": overrides, "context": 1024})
    assert body["response_format"]["schema"] == {"type": "object"}
    assert body["max_tokens"] == 5
