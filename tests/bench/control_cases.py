"""What a case of `make bench-control` is: a few simulated runs, and a judgement of what they measured.

Each run is a job for a process of its own. Scenarios are configurations like an operator's, in
`scenarios/`; which traffic meets which is in `control_loads` and `control_ladders`.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import msgspec
from control_measures import capacity_rps

from gateway.configuration import load
from gateway.policy_files import load_policies
from gateway.settings import LoadedConfig
from gateway.simulation.drift import DriftAsked
from gateway.simulation.plan import loaded_to, make_plan
from gateway.simulation.run import Result, run
from gateway.simulation.trace import Arrival
from policies.policy_set import PolicySet

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
TTFT_S, TPOT_S = 1.5, 0.025
"""What the scenarios with invented traffic promise."""
Arrivals = Callable[[], list[Arrival]]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `extra` measures more than the summary has."""

    scenario: str
    arrivals: Arrivals
    load: float | None = None
    controller: str = "setpoint"
    seed: int = 1
    drifts: tuple[DriftAsked, ...] = ()
    extra: Callable[[Result], dict[str, float]] | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a job measured; small enough to come back from another process."""

    ratio: float
    good: int
    offered: int
    verdicts: dict[str, int]
    flaps_per_hour: float
    extra: dict[str, float] = {}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table. `ok` None: nothing was promised, or it could not be measured."""

    case: str
    figure: str
    target: str = ""
    ok: bool | None = None
    detail: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` judges what the jobs measured, in their order."""

    name: str
    jobs: tuple[Job, ...]
    rows: Callable[[Sequence[Measured]], list[Row]]
    acts: bool = False
    """Its actions and their verdicts count for how often an action is confirmed."""


def work(job: Job) -> Measured:
    """Carry out one job."""
    config, policy = scenario(job.scenario)
    plan = make_plan(
        config,
        policy,
        job.arrivals(),
        controller=job.controller,
        seed=job.seed,
        drifts=job.drifts,
    )
    if job.load is not None:
        plan = loaded_to(plan, job.load)
    result = run(plan)
    summary = result.summary
    return Measured(
        ratio=summary.ratio_blind or 0.0,
        good=summary.good,
        offered=summary.offered,
        verdicts={str(verdict): count for verdict, count in summary.verdicts.items()},
        flaps_per_hour=summary.flaps_per_hour or 0.0,
        extra=job.extra(result) if job.extra else {},
    )


@cache
def scenario(name: str) -> tuple[LoadedConfig, PolicySet]:
    config = load(SCENARIOS / f"{name}.yaml", env={})
    return config, load_policies(config.policies_path, config.catalog, {})


@cache
def full_rps(name: str = "one_model") -> float:
    """Requests a second that are a load of 1 for the first model of a scenario."""
    config, _ = scenario(name)
    card = next(iter(config.catalog.models.values()))
    return capacity_rps(config.pools[0].simulated[card.upstream], TPOT_S)
