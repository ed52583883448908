"""Tools of a provider's own servers: refused by their type, before anything that they lack is missed."""

import pytest
from msgspec import Raw

from contracts.errors import UnsupportedParameter
from gateway.inbound.own_tools import refuse_own_tools

pytestmark = pytest.mark.req("RUN-2", "RUN-6")


def test_one_of_another_type_is_named_with_its_place() -> None:
    tools = Raw(b'[{"type":"custom","name":"f"},{"type":"web_search_20250305"}]')
    with pytest.raises(UnsupportedParameter) as caught:
        refuse_own_tools(tools, (None, "custom"), "Anthropic's")
    assert caught.value.param == "tools[1].type"
    assert "web_search_20250305 is a tool of Anthropic's own" in caught.value.message


@pytest.mark.parametrize(
    "tools", [None, Raw(b"[]"), Raw(b'[{"name":"f"}]'), Raw(b"1"), Raw(b"[" * 5000 + b"]" * 5000)]
)
def test_what_a_client_declares_or_what_is_no_tool_is_for_others_to_judge(
    tools: Raw | None,
) -> None:
    refuse_own_tools(tools, (None, "custom"), "Anthropic's")
