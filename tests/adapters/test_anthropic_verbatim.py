"""A Messages request that goes to Anthropic as it came, within what a policy allows."""

import json
from typing import Any

import pytest
from msgspec import Raw

from adapters.anthropic import AnthropicDialect
from adapters.anthropic_verbatim import verbatim_body
from adapters.dialect import AttemptContext
from gateway.inbound.messages_request import read_messages

pytestmark = pytest.mark.req("RUN-2")

BODY: dict[str, Any] = {
    "model": "mine",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": "Hi"}],
    "future": {"a": 1.0},
}


def native(**members: Any) -> dict[str, Raw]:
    return {n: Raw(json.dumps(v).encode()) for n, v in {**BODY, **members}.items()}


def body(asked: dict[str, Raw], **context: Any) -> dict[str, Any] | None:
    told = verbatim_body(asked, AttemptContext(upstream_model="claude-x", **context))
    return None if told is None else json.loads(told)


def test_all_but_the_model_stays_as_it_was() -> None:
    assert body(native()) == {**BODY, "model": "claude-x", "stream": True}


def test_a_policy_may_cap_and_set_what_has_the_same_name() -> None:
    told = body(native(), max_tokens=7, overrides={"temperature": Raw(b"0.5")})
    assert told is not None
    assert (told["max_tokens"], told["temperature"]) == (7, 0.5)
    told = body(native(), max_tokens=700)
    assert told is not None
    assert told["max_tokens"] == 100


def test_what_it_cannot_be_told_is_said_as_a_chat() -> None:
    assert body(native(), overrides={"seed": Raw(b"1")}) is None


@pytest.mark.parametrize("budget", [50, 60, 50.0])
def test_nor_may_it_think_for_longer_than_it_may_answer(budget: float) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    assert body(native(thinking=thinking), max_tokens=50) is None
    assert body(native(thinking=thinking)) is not None
    assert body(native(thinking="odd"), max_tokens=50) is not None


def conversation(*blocks: dict[str, Any], result: str = "toolu_1") -> list[dict[str, Any]]:
    call = {"type": "tool_use", "id": result, "name": "f", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": result, "content": "x"}
    return [
        *BODY["messages"],
        {"role": "assistant", "content": [*blocks, call]},
        {"role": "user", "content": [answer]},
    ]


SIGNED = {"type": "thinking", "thinking": "So.", "signature": "c2ln"}


def test_what_anthropic_thought_and_signed_goes_back_as_it_was() -> None:
    turns = conversation(SIGNED, {"type": "redacted_thinking", "data": "x"})
    told = body(native(messages=turns))
    assert told is not None
    assert told["messages"] == turns


@pytest.mark.parametrize(
    "turns",
    [
        conversation({"type": "thinking", "thinking": "Hm."}),
        conversation(SIGNED, {"type": "thinking", "thinking": "Hm.", "signature": ""}),
        conversation(result="functions.read:0"),
    ],
)
def test_what_another_engine_said_is_told_as_a_chat(turns: list[dict[str, Any]]) -> None:
    raw = json.dumps({**BODY, "messages": turns}).encode()
    infer, _, _ = read_messages(raw, request_id="r", key="", headers={})
    wire = AnthropicDialect().request(infer, AttemptContext(upstream_model="claude-x"))
    assert not wire.native
    _, assistant, user = json.loads(wire.body)["messages"]
    assert [block["type"] for block in assistant["content"]] == ["tool_use"]
    call_id = assistant["content"][0]["id"]
    assert call_id == user["content"][0]["tool_use_id"]
    assert set(call_id) <= set("abcdefghijklmnopqrstuvwxyz_01")


def test_what_cannot_be_read_is_anthropics_to_judge() -> None:
    assert body(native(messages=[{"role": "user", "content": {"odd": 1}}])) is not None


def test_the_dialect_sends_it_with_its_betas_and_drops_nothing() -> None:
    raw = json.dumps(BODY).encode()
    headers = {"anthropic-beta": "b1", "x-other": "y"}
    infer, _, _ = read_messages(raw, request_id="r", key="", headers=headers)
    wire = AnthropicDialect().request(infer, AttemptContext(upstream_model="claude-x"))
    assert wire.native
    assert json.loads(wire.body)["system"] == BODY["system"]
    assert ("anthropic-beta", "b1") in wire.headers
    assert "x-other" not in dict(wire.headers)
    said = AttemptContext(upstream_model="claude-x", overrides={"stop": Raw(b'["x"]')})
    wire = AnthropicDialect().request(infer, said)
    assert not wire.native
    assert json.loads(wire.body)["system"] == [{"type": "text", "text": "A"}]
    assert "anthropic-beta" not in dict(wire.headers)
