"""What was decided about requests like this one that no rule and no rung had a say in: most requests are such.

`decide` begins with what it finds here, and gives the decision out again where no rule need be tried and nothing is
held; else rules and rungs are run all the same. Must stay true: what is remembered depends on nothing but its
kind, the policies and the catalogue; it is bounded, and of a client's own texts it holds names of models and callers
only. Pure.
"""

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.inference import RequestFacts
from policies.effects import Shape
from policies.intents import OBJECTIVE_HEADERS, pick
from policies.policy_set import PolicySet

KEPT = 10_240
"""Decisions; of more kinds of requests than that, the memory begins again."""

Kind = tuple[str, str, str, int | None, int | None, bool]
"""All that an undisturbed decision reads: the intent where a header picks it, the caller and the model, which pick it
else, and what the request asks for."""


class UsualDecision(msgspec.Struct, frozen=True):
    """Of one kind of requests: the shape before any rule, which is the one that it keeps, and what came of it."""

    shape: Shape
    decision: Decision
    tried: bool
    """Some rules have to be tried on each of them, and did not match this time."""


class Usual:
    """Under one policy set and one catalogue."""

    def __init__(self, policy: PolicySet, catalog: Catalog) -> None:
        self.policy, self.catalog = policy, catalog
        self._known: dict[Kind | None, UsualDecision] = {}

    def __len__(self) -> int:
        return len(self._known)

    def recall(self, facts: RequestFacts) -> UsualDecision | None:
        """What came of the last request of this kind that nothing happened to."""
        return self._known.get(self._kind(facts))

    def remember(self, facts: RequestFacts, shape: Shape, decision: Decision) -> None:
        """Nothing happened to this one."""
        kind = self._kind(facts)
        if kind is None:
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        tried = bool(self.policy.index.by_its_kind(facts, shape))
        self._known[kind] = UsualDecision(shape, decision, tried)

    def _kind(self, facts: RequestFacts) -> Kind | None:
        """None: nothing is remembered of such a request, which has objectives of its own, nobody waits for, or is
        its user's and not a caller's."""
        headers, key = facts.headers, facts.key
        if facts.task or (facts.user and not key):
            return None
        for name in OBJECTIVE_HEADERS:
            if name in headers:
                return None
        intent = ""
        for name in self.policy.by_header:
            if name in headers:
                intent = pick(self.policy, self.catalog, facts).intent
        asked = facts.asked_priority
        return (intent, facts.model, key, facts.max_tokens, asked, facts.may_raise)
