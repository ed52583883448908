"""What was decided about requests like this one that no rule and no rung had a say in: most requests are such.

`decide` begins with what it finds here, runs the rules all the same, and gives the decision out again where they
have changed and said nothing. Must stay true: what is remembered depends on nothing but its key, the policies and
the catalogue; it is bounded, and of a client's own texts it holds names of models and callers only. Pure.
"""

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.inference import RequestFacts
from policies.effects import Shape
from policies.intents import OBJECTIVE_HEADERS
from policies.policy_set import PolicySet

KEPT = 1024
"""Decisions; of more kinds of requests than that, the memory begins again."""

Kind = tuple[str, str, str, int | None, int | None, bool]
"""All that an undisturbed decision reads: the intent, the model, the caller, and what it asks for."""


class UsualDecision(msgspec.Struct, frozen=True):
    """Of one kind of requests: the shape before any rule, which is the one that it keeps, and what came of it."""

    shape: Shape
    decision: Decision


class Usual:
    """Under one policy set and one catalogue."""

    def __init__(self, policy: PolicySet, catalog: Catalog) -> None:
        self.policy, self.catalog = policy, catalog
        self.known: dict[Kind, UsualDecision] = {}
        """To be read; `remember` bounds it."""

    def remember(self, kind: Kind, shape: Shape, decision: Decision) -> None:
        if len(self.known) >= KEPT:
            self.known.clear()
        self.known[kind] = UsualDecision(shape, decision)


def kind_of(intent: str, facts: RequestFacts) -> Kind | None:
    """None: nothing is remembered of such a request, which has objectives of its own, nobody waits for, or is its
    user's and not a caller's."""
    headers = facts.headers
    for name in OBJECTIVE_HEADERS:
        if name in headers:
            return None
    if facts.task or (facts.user and not facts.key):
        return None
    asked = facts.asked_priority
    return (intent, facts.model, facts.key, facts.max_tokens, asked, facts.may_raise)
