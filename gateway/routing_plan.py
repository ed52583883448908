"""From what was decided to where it is tried: a look-up in the catalogue."""

from contracts.catalog import Catalog, ModelCard, RouteOptions
from contracts.decision import Decision
from contracts.errors import NoReadyBackend
from contracts.inference import RoutingPlan, Target


def plan(decision: Decision, catalog: Catalog) -> RoutingPlan:
    """Where to try, in order, from what was decided.

    Raises NoReadyBackend if every model has left the catalogue since.
    """
    cards = catalog.models
    targets = tuple([_target(cards[name]) for name in decision.models if name in cards])
    if not targets:
        raise NoReadyBackend("the models of this request are no longer served", retry_after_s=1.0)
    options = catalog.route_options.get(decision.route) or RouteOptions()
    # What the control loop holds goes before what the configuration says.
    hedge_after_s = decision.hedge_after_s
    return RoutingPlan(
        targets=targets,
        route=decision.route if decision.route in catalog.route_options else "",
        overrides=decision.shaping.params,
        max_tokens=decision.shaping.max_tokens,
        constraints=decision.constraints,
        resume=options.resume,
        hedge_after_s=options.hedge_after_s if hedge_after_s is None else hedge_after_s,
        hedge_budget=options.hedge_budget,
    )


def _target(card: ModelCard) -> Target:
    return Target(
        model=card.name,
        pool=card.pool,
        upstream=card.upstream,
        context=card.context,
        prefill=card.prefill,
    )
