"""Tools are functions, and those that may be called."""

from typing import Any

import msgspec
import pytest

from adapters.chat_request import Members, ToolChoice
from adapters.function_tools import allowed, function_tools
from adapters.unsupported import Cannot
from contracts.errors import UnsupportedParameter

pytestmark = pytest.mark.req("RUN-1", "RUN-2")


def members(**given: Any) -> Members:
    return Members({n: msgspec.Raw(msgspec.json.encode(v)) for n, v in given.items()}, {})


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def test_a_function_is_read_with_its_schema_as_it_came() -> None:
    tools, choice = function_tools(
        members(tools=[function("f"), function("g", description="d", parameters={}, strict=True)]),
        Cannot("an engine", "refuse"),
    )
    assert choice == ToolChoice(mode="auto")
    assert [(t.name, t.description, t.strict) for t in tools] == [
        ("f", "", False),
        ("g", "d", True),
    ]
    assert tools[0].parameters is None
    assert tools[1].parameters is not None
    assert bytes(tools[1].parameters) == b"{}"


def test_without_tools_there_are_none() -> None:
    assert function_tools(members(), Cannot("an engine", "refuse"))[0] == []


def test_what_is_no_function_is_refused_also_where_others_are_dropped() -> None:
    given = members(tools=[function("f"), {"type": "custom", "custom": {"name": "grep"}}])
    with pytest.raises(UnsupportedParameter) as raised:
        function_tools(given, Cannot("an engine", "drop"))
    assert raised.value.param == "tools[1].type"


def test_those_that_may_be_called_are_all_or_the_named_ones() -> None:
    named = {"mode": "auto", "tools": [function("g")]}
    given = members(
        tools=[function("f"), function("g")],
        tool_choice={"type": "allowed_tools", "allowed_tools": named},
    )
    tools, choice = function_tools(given, Cannot("an engine", "refuse"))
    assert [tool.name for tool in allowed(tools, choice)] == ["g"]
    assert allowed(tools, ToolChoice(mode="auto")) == tools
