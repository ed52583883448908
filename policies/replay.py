"""The decision log, decided again: does each entry follow from the numbers it carries, and what was in
force after it? Pure; nothing is changed, nothing is read but the log and the policies it was made under.

Must stay true: an entry is judged with the functions that the loop decides with, and with what the
entries before it say, never with a rule of its own. What the log cannot know, the loads and queues that
made a rung useless at that moment, is taken from the entry's own reasons.
"""

from collections.abc import Iterable

import msgspec

from contracts.control import LoopDecision, MeasuredObjective, TrialNumbers
from policies.ladder import LEASE_S
from policies.logbook import Book, HeldEntry
from policies.objectives import Objective
from policies.policy_set import PolicySet
from policies.rung_rules import (
    BREACHED_CONFIDENCE,
    CLIMB_CONFIDENCE,
    broken,
    cheap_enough,
    is_kept,
)
from policies.rungs import KINDS
from policies.trial import expectation, verdict_of

_OWN_REASONS = ("held already", "cannot help", "did not help lately")
_NECESSARY = " proved necessary lately"
_CLOCK_S = 0.001
"""Two ways to subtract the same times may differ by less."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """`why` says what does not follow; "" where all does. `held`: actions in force after it, in the order
    in which they were taken."""

    decision: LoopDecision
    why: str
    held: tuple[int, ...]

    @property
    def agrees(self) -> bool:
        return not self.why


def replay(log: Iterable[LoopDecision], policy: PolicySet) -> list[Replayed]:
    """Each entry of a log from its beginning, decided again. `policy` is what was in force meanwhile."""
    books: dict[str, Book] = {}
    replayed = []
    for decision in log:
        why = _again(decision, books, policy)
        held = sorted(number for book in books.values() for number in book.held)
        replayed.append(Replayed(decision=decision, why=why, held=tuple(held)))
    return replayed


def _again(decision: LoopDecision, books: dict[str, Book], policy: PolicySet) -> str:
    """What does not follow, and the books brought up to date."""
    if decision.kind in ("limit", "honour"):
        return ""  # they follow from measurements that are not logged
    if decision.kind == "policy":
        books.pop(decision.intent, None)  # its ladder begins at its foot
        return ""
    intent = policy.intents.get(decision.intent)
    if intent is None:
        return f"there is no intent {decision.intent!r}"
    book = books.setdefault(decision.intent, Book(intent))
    match decision.kind:
        case "climb":
            return _climbed(decision, book, books)
        case "pass_over":
            return _passed_over(decision, book)
    if decision.action not in book.held:
        return f"action {decision.action} is not in force"
    match decision.kind:
        case "verdict" | "rollback":
            return _judged(decision, book)
        case "descend":
            return _descended(decision, book)
        case _:
            book.leave(decision.action, decision.at_s)
            early = (decision.for_s or 0.0) < LEASE_S
            return "its lease had not run out" if early else ""


# -- up ---------------------------------------------------------------------------------


def _climbed(decision: LoopDecision, book: Book, books: dict[str, Book]) -> str:
    if decision.rung not in book.labels:
        return f"{decision.rung} is not on the ladder"
    objective = book.objectives.get(decision.objective or "")
    if objective is None:
        return f"{decision.objective} was not promised"
    index, pending = book.labels.index(decision.rung), book.pending
    rung, why = book.rungs[index], ""
    if pending is not None:
        why = f"action {pending.taken.action} was not judged yet"
    elif not KINDS[rung.action].per_request and _judged_elsewhere(decision, books):
        why = "another action was being judged in its pool"
    elif decision.dry_run != rung.dry_run:
        why = "the rung says otherwise of its dry run"
    why = (
        why
        or _not_proven(decision, objective, book)
        or _reasons_differ(decision, book, objective, index)
        or book.own_reason(index, objective, decision.at_s)
        or _expects_otherwise(decision, objective)
    )
    book.take(decision, index, objective)
    return why


def _passed_over(decision: LoopDecision, book: Book) -> str:
    objective = book.objectives.get(decision.objective or "")
    if objective is None:
        return f"{decision.objective} was not promised"
    return _not_proven(decision, objective, book) or _reasons_differ(
        decision, book, objective, len(book.rungs)
    )


def _not_proven(decision: LoopDecision, objective: Objective, book: Book) -> str:
    """Whether the evidence that is told does not prove the violation."""
    if (decision.target, decision.allowed) != (objective.target, objective.allowed):
        return f"{objective.name} was promised otherwise"
    confidence = CLIMB_CONFIDENCE
    if decision.escalates is not None:
        before, confidence = book.rolled_back, BREACHED_CONFIDENCE
        if before is None or (before.action, before.at_s, before.verdict) != (
            decision.escalates,
            decision.at_s,
            "no_effect",
        ):
            return f"action {decision.escalates} was not rolled back for want of effect just then"
        trial = (before.samples or 0, before.bad or 0)
        if objective.allowed is not None and trial != (decision.samples or 0, decision.bad or 0):
            return "its evidence is not what the trial before it saw"
    seen = MeasuredObjective(
        objective=objective.name,
        target=objective.target,
        value=decision.measured,
        samples=decision.samples or 0,
        bad=decision.bad or 0,
        severity=None,
    )
    return "" if broken(seen, objective, confidence) else "its evidence proves no violation"


def _reasons_differ(decision: LoopDecision, book: Book, objective: Objective, upto: int) -> str:
    """Whether a gentler rung was left out without a reason, or for one that was none."""
    told = [reason.partition(": ") for reason in decision.passed_over]
    if [name for name, _, _ in told] != book.labels[:upto]:
        return "its reasons are not those of the gentler rungs"
    for index, (name, _, reason) in enumerate(told):
        mine = book.own_reason(index, objective, decision.at_s)
        wrong = mine != reason and (bool(mine) or reason.startswith(_OWN_REASONS))
        if reason.endswith(_NECESSARY):
            necessary = reason.removesuffix(_NECESSARY)
            wrong = not book.proved_necessary(necessary, objective, decision.at_s)
        if wrong or not reason:
            return f"{name}: {reason or 'no reason'}, and not {mine or 'that'}"
    return ""


def _expects_otherwise(decision: LoopDecision, objective: Objective) -> str:
    late_share = (decision.bad or 0) / decision.samples if decision.samples else 0.0
    expected = None if decision.dry_run else expectation(objective, late_share)[0]
    return "" if decision.expected_share == expected else f"it would expect {expected}"


def _judged_elsewhere(decision: LoopDecision, books: dict[str, Book]) -> bool:
    mine = set((decision.pool or "").split(","))
    return any(
        (one := book.pending) is not None
        and not KINDS[book.rungs[one.index].action].per_request
        and bool(mine & set((one.taken.pool or "").split(",")))
        for name, book in books.items()
        if name != decision.intent
    )


# -- judged, and down -------------------------------------------------------------------


def _judged(decision: LoopDecision, book: Book) -> str:
    number, seen = decision.action or 0, decision.trial
    action = book.held[number]
    why = "it had been judged before" if action.judged else ""
    why = why or ("it has no numbers" if seen is None else _numbers_differ(decision, seen, action))
    if seen is not None and not why:
        verdict = verdict_of(seen, action.objective)
        kept = verdict is not None and is_kept(verdict, action.index)
        if verdict != decision.verdict:
            why = f"the verdict would be {verdict}"
        elif (decision.kind == "rollback") is kept:
            why = f"it would be {'kept' if kept else 'rolled back'}"
    action.judged = True
    if decision.kind == "rollback":
        book.leave(number, decision.at_s).ban(decision.at_s)
        book.rolled_back = decision
    elif decision.verdict == "confirmed":
        book.memory[action.index].proved(action.objective.name)
    return why


def _numbers_differ(decision: LoopDecision, seen: TrialNumbers, action: HeldEntry) -> str:
    taken = action.taken
    late_share = (taken.bad or 0) / taken.samples if taken.samples else 0.0
    expected = (*expectation(action.objective, late_share), round(late_share, 4), taken.load_rps)
    if expected != (
        seen.expected_share,
        seen.otherwise_share,
        seen.late_share_before,
        seen.load_before_rps,
    ):
        return "its numbers are not those that the action was taken with"
    if (decision.samples, decision.bad) != (seen.samples, seen.bad):
        return "it tells other numbers than it was judged by"
    left_s = taken.at_s + (taken.expected_within_s or 0.0) - decision.at_s
    if seen.overdue is (left_s > 0.0) and abs(left_s) > _CLOCK_S:
        return "it was overdue" if not seen.overdue else "it was not overdue"
    return ""


def _descended(decision: LoopDecision, book: Book) -> str:
    number, now_s, pending = decision.action or 0, decision.at_s, book.pending
    action, newest = book.held[number], max(book.held)
    memory = book.memory[action.index]
    # The loads between the climb and now are not in the log, the highest that counted is.
    memory.load_rps = max(memory.load_rps, decision.needed_rps or 0.0)
    changed_s = book.changed_s
    why = ""
    if number != newest:
        why = f"action {newest} is newer"
    elif pending is not None:
        why = f"action {pending.taken.action} was not judged yet"
    elif (decision.for_s or 0.0) < memory.patience_s:
        why = f"calm for less than {memory.patience_s:g} s"
    elif now_s - changed_s < (decision.for_s or 0.0) - _CLOCK_S:
        why = f"the last change was {now_s - changed_s:g} s ago"
    elif decision.measured is not None and not cheap_enough(decision.measured, action.objective):
        why = "without it the promise would be broken"
    elif not decision.dry_run and not memory.relieved(decision.load_rps or 0.0, now_s):
        why = "the load is what it was"
    book.leave(number, now_s)
    return why
