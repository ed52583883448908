"""What was decided about a request as its record tells it: the decision and the plan, as JSON.

Hundreds of requests share a decision word for word, and then their plan: it is resolved once, and searched for
secrets once. Most share the very same one (`policies.usual`), which need not even be written. Must stay true: what
is told is what would be made anew. So the key is the whole decision as it is written, and nothing outlives the
catalog that the plan was resolved in.
"""

from collections.abc import Callable

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import NoReadyBackend
from contracts.inference import RoutingPlan
from gateway.records.storable import Redact, storable_json

KEPT = 10_240
SAME_KEPT = 64
"""Decisions that are held on to, to be known again when they come again themselves."""
KEPT_BYTES = 4096
"""A longer decision is not kept: its rules may quote what a client wrote."""
_encode = msgspec.json.Encoder().encode
Told = tuple[str, str | None]
"""The decision, and the plan: None where a rule refused the request, or nothing is left to serve it."""


class DecidedTexts:
    """`plan` is what resolves a decision; it may raise NoReadyBackend."""

    def __init__(self, plan: Callable[[Decision, Catalog], RoutingPlan], redact: Redact) -> None:
        self._plan = plan
        self._redact = redact
        self._catalog: Catalog | None = None
        self._known: dict[bytes, Told] = {}
        self._same: dict[int, tuple[Decision, Told]] = {}
        """By identity, which is a decision's for as long as it is held on to."""

    def told(self, decision: Decision, catalog: Catalog) -> Told:
        """As it may be stored: without a secret, and valid UTF-8."""
        if catalog is not self._catalog:
            self._catalog, self._known, self._same = catalog, {}, {}
        same = self._same.get(id(decision))
        if same is not None:
            return same[1]
        told = self._told(decision, catalog)
        if len(self._same) >= SAME_KEPT:
            self._same.clear()
        self._same[id(decision)] = decision, told
        return told

    def _told(self, decision: Decision, catalog: Catalog) -> Told:
        try:
            written = _encode(decision)
        except UnicodeEncodeError:  # a lone surrogate, in words that a rule quotes
            return self._made(decision, catalog)
        told = self._known.get(written)
        if told is None:
            told = self._made(decision, catalog)
            if len(written) <= KEPT_BYTES:
                if len(self._known) >= KEPT:
                    self._known.clear()
                self._known[written] = told
        return told

    def _made(self, decision: Decision, catalog: Catalog) -> Told:
        return storable_json(decision, self._redact), self._plan_json(decision, catalog)

    def _plan_json(self, decision: Decision, catalog: Catalog) -> str | None:
        if decision.shaping.reject is not None:
            return None
        try:
            return storable_json(self._plan(decision, catalog), self._redact)
        except NoReadyBackend:
            return None
