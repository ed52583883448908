"""Routes: the models that are tried one after the other, and how."""

from collections.abc import Mapping

from contracts import problems
from contracts.catalog import ModelCard, RouteOptions
from contracts.config import Config, Name, Route
from contracts.problems import did_you_mean
from contracts.yaml_document import Reading
from gateway.configuration.findings import Findings, repeated
from gateway.configuration.quantities import check_not_zero

NAME_MAX_CHARS = 256
"""As in `contracts.openai_api`: clients can ask for a route by its name."""
Routes = dict[str, list[Name] | Route]
"""As they are configured. A list is short for the targets."""


def targets_of(route: list[Name] | Route) -> list[Name]:
    return route.targets if isinstance(route, Route) else route


def targets_path(name: str, route: list[Name] | Route) -> problems.Path:
    """Where in the file its targets stand."""
    return ("routes", name, "targets") if isinstance(route, Route) else ("routes", name)


def route_options(route: Route) -> RouteOptions:
    if route.hedge is None:
        return RouteOptions(resume=route.resume)
    return RouteOptions(
        resume=route.resume,
        hedge_after_s=float(route.hedge.after),
        hedge_budget=float(route.hedge.budget),
    )


def target_places(
    reading: Reading[Config], routes: Routes
) -> dict[tuple[str, int], problems.Position]:
    """Where each target stands, by its route and its place there."""
    return {
        (name, index): reading.position((*targets_path(name, route), index))
        for name, route in routes.items()
        for index in range(len(targets_of(route)))
    }


def check_routes(
    findings: Findings, routes: Routes, cards: Mapping[str, ModelCard], *, discovering: bool
) -> None:
    """Each names models that are there, once. `discovering`: a pool may list others yet."""
    for name, route in routes.items():
        targets, path = targets_of(route), targets_path(name, route)
        if not (name.isprintable() and 0 < len(name) <= NAME_MAX_CHARS):
            findings.note(("routes",), "a route's name is no text of 1 to 256 printable characters")
        if not targets:
            findings.note(path, "an empty route", "name the models to try, or leave the route out")
        for index in repeated(targets):
            findings.note((*path, index), f"{targets[index]!r} is tried twice")
        for index, target in enumerate(targets):
            if target not in cards and not discovering:
                findings.note(
                    (*path, index), f"there is no model {target!r}", did_you_mean(target, cards)
                )
        if isinstance(route, Route) and route.hedge is not None:
            check_not_zero(findings, route.hedge, ("routes", name, "hedge"))
        if isinstance(route, Route) and route.resume == "continue":
            able = [target not in cards or cards[target].prefill for target in targets]
            if not any(able):
                findings.warn(
                    ("routes", name, "resume"),
                    "none of its targets goes on with a text that it is shown, so it is done as replay",
                    "prefill: true at a model that does, or replay",
                )
