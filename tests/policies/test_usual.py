"""Decisions are given out again to whom they fit, and the memory is bounded. That they are what `decide` would say
anew, for every policy and request, is `test_decide`'s."""

from typing import Any

import pytest

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.inference import RequestFacts
from contracts.snapshot import Snapshot
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


def decided(usual: Usual, **fields: Any) -> Decision:
    facts = RequestFacts(**{"operation": "chat", "model": "big", "key": "web", **fields})
    return decide(usual.policy, usual.catalog, facts, Snapshot(), usual=usual)


def test_the_same_kind_of_request_gets_the_same_decision(usual: Usual) -> None:
    first = decided(usual, prompt_tokens=1)
    assert decided(usual, prompt_tokens=2, stream=True, headers={"x-a": "b"}) is first
    assert decided(usual, prompt_tokens=101).shaping.max_tokens == 9
    assert decided(usual, prompt_tokens=3) is first


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
