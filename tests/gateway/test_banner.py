"""What `serve` says when it listens."""

import json
import shlex
from collections.abc import Awaitable, Callable

import pytest

from contracts.problems import Position, Problem
from gateway.banner import banner
from tests.fakes.edge import Edge
from tests.fakes.scripted_engine import ScriptedEngine

MakeEdge = Callable[..., Awaitable[Edge]]
URL = "http://127.0.0.1:8080"


def pasted(text: str) -> list[str]:
    """The words of the command that it offers."""
    return shlex.split(text[text.index("curl") :].replace("\\\n", " "))


async def test_without_a_configuration_it_says_that_the_backend_is_simulated(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(embedded=True)
    text = banner(edge.gateway, URL)
    assert f"listens on {URL}" in text
    assert "simulated llm-d" in text
    for name in ("sim", "assistant", "assistant-small", "interactive", "batch"):
        assert f" {name} " in text
    assert edge.gateway.policy.version in text


async def test_the_line_to_paste_is_a_request_that_works(make_edge: MakeEdge) -> None:
    edge = await make_edge(embedded=True)
    words = pasted(banner(edge.gateway, URL))
    assert f"{URL}/v1/chat/completions" in words
    asked = json.loads(words[words.index("-d") + 1])
    assert (await edge.chat(**asked)).status == 200


@pytest.mark.req("ENG-2")
async def test_a_backend_that_is_not_ready_says_why_and_no_address(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    await engine.aclose()
    edge = await make_edge("auth: {token: operator-token}")
    text = banner(edge.gateway, URL)
    assert "simulated" not in text
    assert "openai; NOT READY: " in text
    assert "0 at once" not in text
    assert "served" in text
    assert "Authorization: Bearer TOKEN" in pasted(text)
    assert "operator-token" not in text


async def test_what_is_doubtful_is_said_and_a_flood_of_it_is_cut_short(make_edge: MakeEdge) -> None:
    edge = await make_edge(embedded=True)
    doubts = [Problem(position=Position("s.yaml", line), message="odd") for line in range(1, 8)]
    assert "  warning  s.yaml:1:1: odd\n" in banner(edge.gateway, URL, doubts[:1])
    text = banner(edge.gateway, URL, doubts)
    assert text.count("odd") == 5
    assert "  warning  2 more: see the log\n" in text
    assert "warning" not in banner(edge.gateway, URL)
