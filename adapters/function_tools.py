"""A chat's tools as functions, for backends that declare them in words of their own. Pure."""

from typing import Any

import msgspec
from msgspec import Raw

from adapters.chat_request import NULL, Members, ToolChoice, tool_choice_of, tools_of
from adapters.unsupported import Cannot

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
"""The schema of a function's parameters where it has none, for backends that want one."""


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True):
    """One function that may be called. `parameters` is its JSON Schema as it came; None where it has none."""

    name: str
    description: str
    parameters: Raw | None
    strict: bool
    cache_control: Raw = NULL


def function_tools(members: Members, cannot: Cannot) -> tuple[list[FunctionTool], ToolChoice]:
    """All that the client declared, and what it wants done with them.

    Raises InvalidField for what is wrong, UnsupportedParameter for a tool that is no function.
    """
    tools = tools_of(members)
    choice = tool_choice_of(members, tools) or ToolChoice(mode="auto")
    declared = []
    for number, tool in enumerate(tools):
        function = tool.function
        if tool.type != "function" or function is None:
            cannot.refuse(f"tools[{number}].type", "it knows functions only")
        declared.append(
            FunctionTool(
                name=function.name,
                description=function.description or "",
                parameters=None if bytes(function.parameters) == b"null" else function.parameters,
                strict=bool(function.strict),
                cache_control=tool.cache_control,
            )
        )
    return declared, choice


def allowed(tools: list[FunctionTool], choice: ToolChoice) -> list[FunctionTool]:
    """Those that may be called: a backend that cannot be told so is told of no others."""
    if choice.allowed is None:
        return tools
    return [tool for tool in tools if tool.name in choice.allowed]
