"""`setpoint explain`: everything that was decided, and why nothing else was."""

import json
from typing import Any

import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.inference import RequestFacts
from contracts.policy import PolicyFile
from contracts.snapshot import PoolSignals, Snapshot
from contracts.yaml_document import read
from gateway.explain import as_json, as_text, explain
from policies.compiler import compile_policies
from policies.policy_set import PolicySet

CATALOG = Catalog(
    models={
        "big": ModelCard(name="big", pool="cluster", upstream="B", quality=0.9),
        "small": ModelCard(name="small", pool="cluster", upstream="S", quality=0.7),
        "tiny": ModelCard(name="tiny", pool="cluster", upstream="T", quality=0.2),
    },
    pools=frozenset({"cluster"}),
    routes={"big": ("big", "small", "tiny")},
)
TEXT = """
intents:
  - {name: chat, match: {default: true}, priority: 10, quality_floor: 0.6,
     objectives: {ttft_p95: 800ms, error_rate: 1%, cost_per_minute: 2.50 USD},
     ladder: [order, {cap_tokens: 256}]}
  - {name: night, match: {header: {x-team: night}}}
rules:
  - {name: capped, when: request.max_tokens > 100, then: {max_tokens: 100, params: {temperature: 0}}}
  - {name: asleep, when: request.stream, then: {priority: 1}}
  - {name: cheap, then: {model: tiny}}
  - {name: tried, then: {priority: 99}, dry_run: true}
  - {name: full, when: pool.queued > 5, then: {reject: {retry_after: 10s, message: later}}}
  - {name: last, then: {max_tokens: 1}}
"""
QUIET = Snapshot()
BUSY = Snapshot(pools={"cluster": PoolSignals(queued=6)})


@pytest.fixture(scope="module")
def policy() -> PolicySet:
    lax = TEXT.replace("{name: night,", "{name: night, quality_floor: 0.1,")
    return compile_policies([read(lax, PolicyFile, file="p.yaml")], CATALOG)


def told(policy: PolicySet, snapshot: Snapshot = QUIET, body: bytes | None = None, **f: Any) -> str:
    facts = RequestFacts(**{"operation": "chat", "model": "big", **f})
    return as_text(explain(policy, CATALOG, facts, snapshot), policy, CATALOG, body=body)


def test_a_task_is_called_one(policy: PolicySet) -> None:
    assert "request      chat, model big, a task, not streamed" in told(policy, task=True)
    assert "a task has no first-token objective of its own" in told(policy, task=True)
    assert "a task" not in told(policy)


@pytest.mark.req("INT-2", "INT-7")
def test_every_intent_and_rule_is_told_with_its_reason(policy: PolicySet) -> None:
    text = told(policy, max_tokens=400)
    for line in (
        "> chat   the default: nothing else matches",
        "  night  header x-team is absent, not 'night'",
        "priority 10, quality at least 0.6, ttft_p95 800 ms, error_rate 1%, cost_per_minute 2.5 USD",
        "ladder: order > cap_tokens 256",
        "+ capped: applied",
        "    when  request.max_tokens > 100",
        "    since request.max_tokens is 400",
        "    then  max_tokens 400 -> 100",
        "    then  temperature = 0",
        "- asleep: no match",
        "    since request.stream is False",
        "^ cheap: held by the quality floor",
        "tiny has quality 0.2; the floor of intent chat is 0.6",
        "~ tried: would apply (dry run)",
        "    then  priority 10 -> 99",
        "models      big (pool cluster), then small (pool cluster)",
        "max_tokens  1 (capped)",
        "priority    10",
        "param       temperature = 0",
        "objective   chat, priority 10",
        "ttft        800 ms",
    ):
        assert line in text


def test_a_refusal_says_what_the_client_will_hear(policy: PolicySet) -> None:
    text = told(policy, BUSY, body=b"{}")
    assert "+ full: applied" in text
    assert ". last: not looked at" in text
    assert "refused: 429, Retry-After 10 s: later" in text
    assert "body" not in text


def test_the_backends_body_is_shown_as_it_is(policy: PolicySet) -> None:
    assert told(policy, body=b'{"a":"\xc3\xa9"}').endswith('body         {"a":"é"}\n\n')
    assert "more characters" in told(policy, body=b"x" * 70_000)


@pytest.mark.parametrize(
    ("model", "words"),
    [("bgi", ["404 model_not_found", "Did you mean 'big'?"]), ("tiny", ["400 quality_floor"])],
)
def test_an_error_is_told_too(policy: PolicySet, model: str, words: list[str]) -> None:
    text = told(policy, model=model)
    for word in words:
        assert word in text


@pytest.mark.req("SEC-5")
def test_nothing_a_client_sends_reaches_the_terminal_as_a_command(policy: PolicySet) -> None:
    evil = "\x1b]0;owned\x07\r\n\u202e"
    for text in (
        told(policy, model=evil),
        told(policy, key=evil, user=evil, headers={"x-team": evil}, body=evil.encode()),
    ):
        assert all(c.isprintable() or c == "\n" for c in text)


def test_as_json_it_is_the_decision_or_the_error(policy: PolicySet) -> None:
    facts = RequestFacts(operation="chat", model="big")
    decision = json.loads(as_json(explain(policy, CATALOG, facts, QUIET)))
    assert decision["intent"] == "chat"
    assert decision["models"] == ["big", "small"]
    assert len(decision["rules"]) == 6
    wrong = RequestFacts(operation="chat", model="nope")
    assert json.loads(as_json(explain(policy, CATALOG, wrong, QUIET)))["error"]["code"] == (
        "model_not_found"
    )


def test_an_empty_policy_is_explained_without_fuss() -> None:
    text = told(PolicySet())
    assert "> (none)  no intent matches and none is the default" in text
    assert "rules        none" in text
