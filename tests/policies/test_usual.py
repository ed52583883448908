"""Decisions are given out again to whom they fit, and the memory is bounded. That they are what `decide` would say
anew, for every policy and request, is `test_decide`'s."""

from typing import Any

import pytest

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.inference import RequestFacts
from contracts.snapshot import PoolSignals, Snapshot
from policies.decide import decide
from policies.usual import KEPT, Usual

pytestmark = pytest.mark.req("OPS-4")
RULES = """
intents: [{name: all, match: {default: true}}]
rules:
  - {name: long, when: request.prompt_tokens > 100, then: {max_tokens: 9}}
  - {name: told, when: request.prompt_tokens > 1000, dry_run: true, then: {max_tokens: 9}}
"""


@pytest.fixture
def usual(compiled: Any, catalog: Catalog) -> Usual:
    return Usual(compiled(RULES), catalog)


def decided(usual: Usual, snapshot: Snapshot = Snapshot(), **fields: Any) -> Decision:  # noqa: B008
    facts = RequestFacts(**{"operation": "chat", "model": "big", "key": "web", **fields})
    return decide(usual.policy, usual.catalog, facts, snapshot, usual=usual)


def test_the_same_kind_of_request_gets_the_same_decision(usual: Usual) -> None:
    first = decided(usual, prompt_tokens=1)
    assert decided(usual, prompt_tokens=2, stream=True, headers={"x-a": "b"}) is first
    assert decided(usual, prompt_tokens=101).shaping.max_tokens == 9
    assert decided(usual, prompt_tokens=3) is first


def test_a_header_that_picks_an_intent_makes_another_kind(compiled: Any, catalog: Catalog) -> None:
    intents = "{name: all, match: {default: true}}, {name: b, match: {header: {x-intent: b}}}"
    usual = Usual(compiled(f"intents: [{intents}]"), catalog)
    told = [{}, {"x-intent": "b"}, {"x-intent": "c"}] * 2
    assert [decided(usual, headers=headers).intent for headers in told] == ["all", "b", "all"] * 2
    assert decided(usual, headers={"x-intent": "b"}) is decided(usual, headers={"x-intent": "b"})


def test_a_rule_that_depends_on_more_than_the_kind_is_tried_each_time(
    compiled: Any, catalog: Catalog
) -> None:
    when = "request.key == 'web' && pool.queued > 1"
    rule = f'{{name: full, when: "{when}", then: {{max_tokens: 9}}}}'
    usual = Usual(compiled(f"rules: [{rule}]"), catalog)
    calm, busy = (
        Snapshot(pools={"cluster": PoolSignals(queued=queued, limit=1)}) for queued in (0, 2)
    )
    for _ in range(2):
        assert decided(usual, calm).shaping.max_tokens is None
        assert decided(usual, busy).shaping.max_tokens == 9


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_tokens": 101},
        {"headers": {"x-slo-ttft-ms": "100"}},
        {"task": True},
        {"key": "", "user": "somebody"},
    ],
)
def test_what_is_one_requests_own_is_not_remembered(usual: Usual, fields: dict[str, Any]) -> None:
    assert decided(usual, **fields) is not decided(usual, **fields)
    assert not len(usual)


def test_the_memory_is_bounded(usual: Usual) -> None:
    for number in range(2 * KEPT + 1):
        decided(usual, max_tokens=number + 1)
        assert len(usual) <= KEPT
