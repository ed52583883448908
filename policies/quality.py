"""The quality floor: which models may serve an intent, and in which order they are tried.

Must stay true, for every policy and catalogue: no rated model below the floor is ever in a
result, and an unrated one only where the client asked for it by name (INT-11).
"""

from collections.abc import Iterable, Iterator

import msgspec

from contracts.catalog import Catalog, ModelCard
from contracts.policy import Intent


class Choice(msgspec.Struct, frozen=True):
    """A model, and a pool that it is confined to. Its route is its own name, then its fallbacks."""

    model: str
    pool: str | None = None


def below_floor(card: ModelCard, intent: Intent) -> bool:
    """Whether policy may *not* bring in this model. Unrated counts as below."""
    floor = intent.quality_floor
    return floor is not None and (card.quality is None or card.quality < floor)


def route(choice: Choice, asked: str, intent: Intent, catalog: Catalog) -> tuple[str, ...]:
    """Models to try for `choice`, best first; empty when the choice cannot be kept.

    `asked` is the client's own model: unrated, it is still the client's to choose. Without a pool
    the chosen model must lead, so a route never hides that it was below the floor; confined to a
    pool, the first model of the route that lives there leads.
    """
    known, has_floor = catalog.models, intent.quality_floor is not None
    names: Iterable[str] = (choice.model,)
    if choice.model in catalog.routes:
        names = dict.fromkeys((choice.model, *catalog.routes[choice.model]))
    models: tuple[str, ...] = ()
    for name in names:
        if name not in known:
            continue
        card = known[name]
        if choice.pool is not None and card.pool != choice.pool:
            continue
        if has_floor and below_floor(card, intent) and not (name == asked and card.quality is None):
            if name == choice.model and choice.pool is None:
                return ()
            continue
        models = (*models, name)
    return models


def worthy(intent: Intent, catalog: Catalog) -> list[str]:
    """Names of all models that meet the intent's floor, sorted."""
    return sorted(n for n, card in catalog.models.items() if not below_floor(card, intent))


def why_below(card: ModelCard, intent: Intent) -> str:
    return f"{card.name} {shortfall(card, intent)}"


def shortfall(card: ModelCard, intent: Intent) -> str:
    """For people, with the model as the subject: "is unrated; the floor of ..."."""
    rating = "is unrated" if card.quality is None else f"has quality {card.quality:g}"
    return f"{rating}; the floor of intent {intent.name} is {intent.quality_floor:g}"


def idle_fallbacks(intents: Iterable[Intent], catalog: Catalog) -> Iterator[tuple[str, int]]:
    """The fallbacks, as route and place in it, that are below every floor there is.

    Most often a rating was forgotten: such a model is tried for intents without a floor only.
    """
    floored = [intent for intent in intents if intent.quality_floor is not None]
    for name, targets in catalog.routes.items():
        for index, target in enumerate(targets):
            card = catalog.models.get(target)
            if card is None or target == name or not floored:
                continue
            if all(below_floor(card, intent) for intent in floored):
                yield name, index
