"""What is to be simulated, whole and checked: engines, policies, traffic, controller.

Everything that can be wrong with a simulation is found here, before the clock starts. Must stay true:
what the configuration does not describe does not exist in a simulation; a plan is a value, and the
same one gives the same run.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from adapters.fakellmd.settings import LlmdSettings, ServedModel
from contracts.catalog import Catalog
from contracts.problems import Position, Problem, ProblemsFound
from gateway.configuration import load
from gateway.policy_files import load_policies
from gateway.settings import LoadedConfig, PoolSpec
from gateway.simulation.bounds import offered_load
from gateway.simulation.drift import DriftAsked, drifted
from gateway.simulation.engines import Lane
from gateway.simulation.reception import Reception
from gateway.simulation.trace import Arrival, stretched
from gateway.simulation.traffic_source import TrafficSource
from gateway.simulation.words import clock
from policies.policy_set import PolicySet

SETPOINT = "setpoint"
"""The controller that is no rival."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run to be. `settings` are the engines, `catalog` has the models that have one."""

    settings: dict[Lane, LlmdSettings]
    catalog: Catalog
    pools: tuple[PoolSpec, ...]
    policy: PolicySet
    arrivals: Sequence[Arrival]
    model: str
    """Where requests go that name none."""
    weights: dict[str, float] = {}
    controller: str = SETPOINT
    seed: int = 1
    drifts: tuple[DriftAsked, ...] = ()
    notes: tuple[str, ...] = ()
    """What people should know of it, as sentences."""
    facts: tuple[tuple[str, str], ...] = ()
    """(name, value): what it was made of, so that it can be made again."""

    def reception(self) -> Reception:
        return Reception(self.policy, self.catalog, self.model)

    @property
    def span_s(self) -> float:
        """Up to the last arrival."""
        return self.arrivals[-1].arrival_s if self.arrivals else 0.0


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of a plan that ask for one lane, and the strictest pace that any of them is promised."""

    arrivals: Sequence[Arrival]
    tpot_s: float | None


def read_plan(
    config_path: Path | None,
    source: TrafficSource,
    env: Mapping[str, str],
    *,
    load_x: float | None = None,
    controller: str = SETPOINT,
    seed: int = 1,
    drifts: tuple[DriftAsked, ...] = (),
) -> Plan:
    """A plan from files. Raises ProblemsFound."""
    config = load(config_path, env=env)
    policy = load_policies(config.policies_path, config.catalog, env)
    plan = make_plan(config, policy, (), controller=controller, seed=seed, drifts=drifts)
    traffic = source.read(config, policy, plan.catalog)
    facts = (
        ("configuration", config.file),
        ("policies", f"{config.policies_path}, version {policy.version}"),
        (traffic.kind, traffic.name),
        ("load", "as it is" if load_x is None else f"{load_x:g}"),
        *plan.facts,
    )
    plan = structs.replace(
        plan, arrivals=traffic.arrivals, notes=(*plan.notes, *traffic.notes), facts=facts
    )
    return plan if load_x is None else loaded_to(plan, load_x, traffic.name)


def make_plan(
    config: LoadedConfig,
    policy: PolicySet,
    arrivals: Sequence[Arrival],
    *,
    controller: str = SETPOINT,
    seed: int = 1,
    drifts: tuple[DriftAsked, ...] = (),
) -> Plan:
    """A plan with what the configuration describes. Raises ProblemsFound."""
    settings = {
        (pool.id, upstream): told
        for pool in config.pools
        for upstream, told in _engines(pool, config.catalog).items()
    }
    catalog = _simulated(config.catalog, settings)
    if not catalog.models:
        hint = "say what a model's engine is like: simulate: {inter_token_latency: 15ms}"
        raise _refused(config.file, "no model is described, so there is nothing to simulate", hint)
    try:
        settings = drifted(settings, drifts, catalog)
    except ValueError as exc:
        raise _refused("--drift", str(exc)) from exc
    return Plan(
        settings=settings,
        catalog=catalog,
        pools=tuple(pool for pool in config.pools if pool.id in {lane[0] for lane in settings}),
        policy=policy,
        arrivals=arrivals,
        model=next(iter(catalog.models)),
        weights={caller.name: caller.weight for caller in config.callers},
        controller=controller,
        seed=seed,
        drifts=drifts,
        notes=tuple(_notes(config.catalog, catalog, policy)),
        facts=(
            ("controller", controller),
            ("seed", str(seed)),
            *(("drift", f"at {clock(drift.at_s)}: {drift.words}") for drift in drifts),
        ),
    )


def loaded_to(plan: Plan, load_x: float, trace: str = "the trace") -> Plan:
    """The plan with its arrivals stretched so that they offer `load_x` of what the engines can do.

    Raises ProblemsFound, which names `trace`, where that cannot be.
    """
    now = load_of(plan)
    if now is None:
        raise _refused(trace, "all requests come at once: there is no time to stretch")
    if not 0.0 < now < math.inf:
        hint = "the engine is slower than the tpot objective, even with one request at a time"
        raise _refused(trace, "no load can be served within its objectives", hint)
    return structs.replace(plan, arrivals=stretched(plan.arrivals, now / load_x))


def load_of(plan: Plan) -> float | None:
    """The work that is asked for, as a share of what can be done within the objectives: that of the
    model with most of it. None where there is no time to do it in."""
    if plan.span_s <= 0.0:
        return None
    return max(
        offered_load(share.arrivals, plan.settings[lane], share.tpot_s, span_s=plan.span_s)
        for lane, share in shares(plan).items()
    )


def shares(plan: Plan) -> dict[Lane, Share]:
    """Who asks for which lane, before any rule or rung."""
    reception = plan.reception()
    arrivals: dict[Lane, list[Arrival]] = {}
    paces: dict[Lane, float | None] = {}
    known: dict[tuple[str, str, str], tuple[Lane, float | None]] = {}
    for arrival in plan.arrivals:
        kind = (arrival.intent, arrival.tenant, arrival.model)
        if kind not in known:
            card = plan.catalog.models[reception.model_of(arrival)]
            intent = plan.policy.intent(reception.intent_of(arrival))
            known[kind] = ((card.pool, card.upstream), intent.objectives.tpot_s)
        lane, tpot_s = known[kind]
        arrivals.setdefault(lane, []).append(arrival)
        paces[lane] = min((s for s in (tpot_s, paces.get(lane)) if s is not None), default=None)
    return {lane: Share(arrivals=mine, tpot_s=paces[lane]) for lane, mine in arrivals.items()}


def _engines(pool: PoolSpec, catalog: Catalog) -> dict[str, LlmdSettings]:
    """A pool that runs in the gateway's own process is as its engine is, described or not."""
    if pool.simulated or pool.engine != "embedded":
        return pool.simulated
    own = LlmdSettings()
    asked = {card.upstream for card in catalog.models.values() if card.pool == pool.id}
    return {
        model.name: structs.replace(
            own, models=(ServedModel(name=model.name, latency=own.latency_of(model.name)),)
        )
        for model in own.models
        if model.name in asked
    }


def _simulated(catalog: Catalog, settings: Mapping[Lane, LlmdSettings]) -> Catalog:
    models = {
        name: card
        for name, card in catalog.models.items()
        if (card.pool, card.upstream) in settings
    }
    routes = {
        name: tuple(target for target in targets if target in models)
        for name, targets in catalog.routes.items()
    }
    return structs.replace(catalog, models=models, routes=routes, discovering=False)


def _notes(whole: Catalog, simulated: Catalog, policy: PolicySet) -> list[str]:
    notes = []
    if missing := [name for name in whole.models if name not in simulated.models]:
        notes.append(f"not simulated, and so not there: {', '.join(missing)}")
    ladders = [rung.action for intent in policy.intents.values() for rung in intent.ladder]
    if "hedge" in ladders:
        notes.append("hedges are not simulated: the rung does nothing here")
    return notes


def _refused(place: str, message: str, hint: str = "") -> ProblemsFound:
    return ProblemsFound([Problem(position=Position(place), message=message, hint=hint)])
