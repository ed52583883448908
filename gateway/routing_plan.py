"""From what was decided to where it is tried: a look-up in the catalogue."""

from contracts.catalog import Catalog, RouteOptions
from contracts.decision import Decision
from contracts.errors import NoReadyBackend
from contracts.inference import RoutingPlan

_PLAIN = RouteOptions()
"""Those of a model that no configured route begins with."""


def plan(decision: Decision, catalog: Catalog) -> RoutingPlan:
    """Where to try, in order, from what was decided.

    It is kept with the decision, which is given out again with the same catalogue.
    Raises NoReadyBackend if every model has left the catalogue since.
    """
    kept: tuple[Catalog, RoutingPlan] | None = decision.__dict__.get("plan")
    if kept is not None and kept[0] is catalog:
        return kept[1]
    made = _plan(decision, catalog)
    decision.__dict__["plan"] = catalog, made
    return made


def _plan(decision: Decision, catalog: Catalog) -> RoutingPlan:
    known = catalog.targets
    targets = tuple([known[name] for name in decision.models if name in known])
    if not targets:
        raise NoReadyBackend("the models of this request are no longer served", retry_after_s=1.0)
    configured = decision.route in catalog.route_options
    options = catalog.route_options[decision.route] if configured else _PLAIN
    # What the control loop holds goes before what the configuration says.
    hedge_after_s = decision.hedge_after_s
    return RoutingPlan(
        targets=targets,
        route=decision.route if configured else "",
        overrides=decision.shaping.params,
        max_tokens=decision.shaping.max_tokens,
        constraints=decision.constraints,
        resume=options.resume,
        hedge_after_s=options.hedge_after_s if hedge_after_s is None else hedge_after_s,
        hedge_budget=options.hedge_budget,
    )
