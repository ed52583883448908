"""A ladder's book: what is held, and what is remembered, follow the entries."""

import pytest

from contracts.control import LoopDecision
from policies.logbook import Book
from policies.rung_memory import CALM_S
from tests.policies.scenarios import policy_set

pytestmark = pytest.mark.req("INT-2")

INTENT = policy_set(
    "intents: [{name: i, objectives: {ttft_p95: 1s}, ladder: [order, {cap_tokens: 9}]}]"
).intents["i"]


def climb(action: int, at_s: float, *, dry_run: bool = False) -> LoopDecision:
    return LoopDecision(
        seq=1,
        at_s=at_s,
        kind="climb",
        intent="i",
        words="",
        action=action,
        load_rps=10.0,
        dry_run=dry_run,
    )


def test_it_opens_with_the_intents_ladder_and_nothing_held() -> None:
    book = Book(INTENT)
    assert book.labels == ["order", "cap_tokens 9"]
    assert list(book.objectives) == ["ttft_p95"]
    assert (book.held, book.pending, book.rolled_back) == ({}, None, None)


def test_what_was_taken_is_held_and_pending_until_it_is_judged() -> None:
    book, objective = Book(INTENT), Book(INTENT).objectives["ttft_p95"]
    book.take(climb(3, 100.0), 1, objective)
    assert book.pending is book.held[3]
    assert book.own_reason(1, objective, 100.0) == "held already"
    assert book.own_reason(0, objective, 100.0) == ""
    book.held[3].judged = True
    assert book.pending is None
    assert book.changed_s == 100.0


def test_what_only_rehearses_is_never_pending() -> None:
    book, objective = Book(INTENT), Book(INTENT).objectives["ttft_p95"]
    book.take(climb(3, 100.0, dry_run=True), 1, objective)
    assert book.pending is None
    assert 3 in book.held


def test_what_has_left_is_remembered_as_the_ladder_remembers_it() -> None:
    book, objective = Book(INTENT), Book(INTENT).objectives["ttft_p95"]
    book.take(climb(3, 100.0), 0, objective)
    memory = book.leave(3, 150.0)
    assert (memory.dwell_s, memory.left_s, memory.load_rps) == (50.0, 150.0, 10.0)
    assert (book.held, book.changed_s) == ({}, 150.0)
    memory.ban(150.0)
    assert book.own_reason(0, objective, 151.0) == "did not help lately"
    book.take(climb(4, 160.0), 0, objective)
    assert memory.patience_s == 2 * CALM_S, "taken again too soon"
    assert not book.proved_necessary("order", objective, 161.0)
    memory.proved("ttft_p95")
    book.leave(4, 170.0)
    assert book.proved_necessary("order", objective, 171.0)
    assert not book.proved_necessary("cap_tokens 9", objective, 171.0)
    assert not book.proved_necessary("shed", objective, 171.0)
