"""INT-3: an edited policy shapes the next request; a broken edit is refused and the old one stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway
from tests.support.wire import post

pytestmark = pytest.mark.req("INT-3")
RULE = """\
rules:
  - name: short
    when: {when}
    then: {{max_tokens: {limit}}}
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    file = tmp_path / "policies" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(RULE.format(when="request.prompt_tokens > 0", limit=3))
    return file


@pytest.fixture
def gateway(make_gateway: Callable[[str], Gateway], policies: Path) -> Gateway:
    return make_gateway(f"policies: {policies.parent}")


def answer(gateway: Gateway) -> tuple[int, str]:
    """Tokens of an answer to a request for 50, and what was decided."""
    body: dict[str, Any] = {
        "model": "assistant",
        "messages": [{"role": "user", "content": "Hello."}],
        "max_tokens": 50,
        "ignore_eos": True,
    }
    got = post(f"{gateway.v1}/chat/completions", body)
    assert got.status == 200, got
    return got.json()["usage"]["completion_tokens"], got.headers["x-setpoint-decision"]


@pytest.mark.req("OPS-2")
def test_an_edit_changes_the_next_request_without_a_restart(
    gateway: Gateway, policies: Path
) -> None:
    assert answer(gateway)[0] == 3
    policies.write_text(RULE.format(when="request.prompt_tokens > 0", limit=5))
    loaded = gateway.logged("policies_loaded")

    tokens, decision = answer(gateway)
    assert tokens == 5
    assert "short" in decision
    seen = gateway.metrics()
    assert seen.label("setpoint_policy_info", "version") == {loaded["version"]}
    assert seen.total("setpoint_policy_reloads_total", outcome="ok") == 1
    assert gateway.logged("request", policy=loaded["version"])


@pytest.mark.req("OPS-2")
@pytest.mark.parametrize(
    ("broken", "place", "hint"),
    [
        (RULE.format(when="request.prompt_tokenz > 0", limit=9), ":3:", "prompt_tokens"),
        (RULE.format(when="true", limit=9).replace("then", "than"), ":4:5", "then"),
        ("rules:\n  - name: [short\n", ":", "YAML"),
    ],
)
def test_a_broken_edit_is_refused_with_its_place_and_the_nearest_word(
    gateway: Gateway, policies: Path, broken: str, place: str, hint: str
) -> None:
    before = answer(gateway)
    policies.write_text(broken)
    refused = gateway.logged("policies_refused")

    said = refused["problems"]
    assert any(f"{policies.name}{place}" in text and hint in text for text in said), said
    assert answer(gateway) == before
    seen = gateway.metrics()
    assert seen.total("setpoint_policy_reloads_total", outcome="refused") >= 1
    assert seen.label("setpoint_policy_info", "version") == {refused["in_force"]}

    policies.write_text(RULE.format(when="request.prompt_tokens > 0", limit=7))
    eventually(lambda: answer(gateway)[0] == 7, "the mended policy is in force")


def test_a_reload_by_hand_answers_with_every_problem(gateway: Gateway, policies: Path) -> None:
    assert post(f"{gateway.url}/admin/reload", {}).json()["status"] == "ok"
    policies.write_text(RULE.format(when="request.modle == 'x'", limit=9))
    refused = post(f"{gateway.url}/admin/reload", {})

    assert refused.status == 422
    assert any("model" in problem for problem in refused.json()["problems"])
    assert answer(gateway)[0] == 3
