"""What a configuration and its policies may say, and most likely do not mean: told, and never refused."""

from collections.abc import Iterator

from contracts import problems
from contracts.catalog import Catalog
from contracts.problems import Position, Problem
from gateway.configuration.routes import targets_path
from gateway.settings import LoadedConfig
from policies.policy_set import PolicySet
from policies.quality import idle_fallbacks


def likely_mistakes(loaded: LoadedConfig, policy: PolicySet, catalog: Catalog) -> list[Problem]:
    """In the order of the text. `catalog` is that of `loaded`, with what backends list as far as that is known."""
    return sorted([*loaded.warnings, *_idle_fallbacks(loaded, policy, catalog)])


def _idle_fallbacks(loaded: LoadedConfig, policy: PolicySet, catalog: Catalog) -> Iterator[Problem]:
    for route, index in idle_fallbacks(policy.intents.values(), catalog):
        target = catalog.routes[route][index]
        path: problems.Path = (*targets_path(route, loaded.config.routes.get(route, [])), index)
        quality = catalog.models[target].quality
        rating = "unrated" if quality is None else f"of quality {quality:g}"
        yield Problem(
            position=loaded.target_places.get((route, index), Position(loaded.file)),
            path=problems.spell_path(path),
            message=f"{target!r} is {rating}: no intent with a quality floor will ever try it",
            hint="give the model a quality" if quality is None else "",
        )
