"""The values that conditions read: one CEL context a request, holding only what some rule names, and none
before it is asked for.

Must stay true: every reference has a value for every request or is known to be unknown, and building it
never raises, whatever bytes a client put into a header. An absent text is "", an absent number 0.
"""

from typing import Any

from contracts.catalog import Catalog
from contracts.inference import RequestFacts
from contracts.snapshot import PoolSignals, Snapshot
from policies.cel_engine import Context
from policies.effects import Shape
from policies.references import Reference
from policies.request_value import request_value

_CHANGING = frozenset({"model", "max_tokens", "intent", "priority"})
_NO_SIGNALS = PoolSignals()


class EvaluationContext:
    """Call `refresh` after a rule has changed the shape."""

    def __init__(
        self,
        references: tuple[Reference, ...],
        facts: RequestFacts,
        shape: Shape,
        snapshot: Snapshot,
        catalog: Catalog,
    ) -> None:
        self._cel: Context | None = None
        self._shape = shape
        self._references = references
        self._facts = facts
        self._snapshot = snapshot
        self._catalog = catalog
        self._unknown: set[str] = set()

    @property
    def cel(self) -> Context:
        """What conditions run on."""
        return self._built()

    def _built(self) -> Context:
        if self._cel is None:
            self._cel = Context()
            for reference in self._references:
                self._add(self._cel, reference, self._shape)
        return self._cel

    def refresh(self, shape: Shape) -> None:
        """Replace the values that rules change: the model, its pool, the cap, intent, priority."""
        self._shape = shape
        if self._cel is None:
            return
        for reference in self._references:
            if reference.of == "pool" or (
                reference.of == "request" and reference.name in _CHANGING
            ):
                self._add(self._cel, reference, shape)

    def knows(self, references: tuple[Reference, ...]) -> bool:
        """Whether all of these have a value: what a backend does not tell of itself has none."""
        self._built()
        return not self._unknown or self._unknown.isdisjoint(r.slot for r in references)

    def _add(self, context: Context, reference: Reference, shape: Shape) -> None:
        value = self.value(reference, shape)
        if value is None:
            self._unknown.add(reference.slot)
            return
        self._unknown.discard(reference.slot)
        try:
            context.add_variable(reference.slot, value)
        except ValueError:  # text that is not Unicode: a header's raw bytes
            context.add_variable(reference.slot, _cleaned(value))

    def value(self, reference: Reference, shape: Shape) -> Any:
        """What the reference stands for, with the rules so far taken into account. None: unknown."""
        name = reference.name
        match reference.of:
            case "request":
                return request_value(name, self._facts, shape)
            case "header":
                return self._facts.headers.get(name, "")
            case "headers":
                return self._facts.headers
            case "headers_in":
                headers = self._facts.headers
                return {name: headers[name] for name in reference.only if name in headers}
            case "pool":
                pool = pool_of(shape, self._catalog)
                return pool if name == "id" else self._signal(pool, name)
            case "pools":
                return self._signal(reference.pool, name)

    def _signal(self, pool: str, name: str) -> Any:
        return getattr(self._snapshot.pools.get(pool, _NO_SIGNALS), name)


def pool_of(shape: Shape, catalog: Catalog) -> str:
    """The pool of the model that would be tried first; "" when nothing is known of it."""
    card = catalog.models.get(shape.model)
    return shape.pinned or (card.pool if card else "")


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(text) for name, text in value.items()}
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
