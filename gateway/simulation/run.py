"""`setpoint simulate` from a plan to its results: builds the world, runs it, writes what was asked for.

Must stay true: the same plan gives the same outcomes, decisions and files, to the byte; the one number
that may differ is how long it took.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.control import LoopDecision
from gateway.simulation.bodies import Body, Sight
from gateway.simulation.engines import Engines
from gateway.simulation.outcome import Outcome
from gateway.simulation.plan import SETPOINT, Plan
from gateway.simulation.rival_body import RivalBody
from gateway.simulation.rivals.registry import make_rival
from gateway.simulation.rows import write_rows
from gateway.simulation.setpoint_body import SetpointBody
from gateway.simulation.summary import Summary, summarise
from gateway.simulation.timeline import Timeline
from gateway.simulation.world import World


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a plan."""

    plan: Plan
    outcomes: Sequence[Outcome]
    """One for each arrival, in their order."""
    decisions: Sequence[LoopDecision]
    summary: Summary
    samples: Sequence[tuple[float, Sight]] = ()
    """(seconds, what the body looked like); empty unless asked for."""


def run(plan: Plan, *, watch: bool = False, started_s: float | None = None) -> Result:
    """Simulate. `watch` samples the body for a report; `started_s` (`time.perf_counter`) is when the work
    began that `wall_s` is to count, now by default. Raises ValueError for an unknown controller."""
    started_s = time.perf_counter() if started_s is None else started_s
    engines = Engines(plan.settings)
    body = _body(plan, engines)
    timeline = Timeline(body, plan.span_s) if watch else None
    world = World(
        plan.arrivals,
        body,
        engines,
        seed=plan.seed,
        watch=None if timeline is None else timeline.watch,
    )
    world.run()
    return Result(
        plan=plan,
        outcomes=world.outcomes,
        decisions=world.decisions,
        summary=summarise(
            plan,
            world.outcomes,
            world.decisions,
            flaps=body.flaps,
            wall_s=time.perf_counter() - started_s,
        ),
        samples=() if timeline is None else timeline.samples,
    )


def _body(plan: Plan, engines: Engines) -> Body:
    reception = plan.reception()
    if plan.controller == SETPOINT:
        return SetpointBody(reception, plan.pools, engines, plan.weights)
    return RivalBody(
        lambda: make_rival(plan.controller, plan.seed), reception, tuple(plan.settings)
    )


def save(result: Result, *, rows: Path | None = None, summary: Path | None = None) -> None:
    """Write the files of `--requests` and `--json`. Raises OSError."""
    if rows is not None:
        with rows.open("w", encoding="utf-8", newline="") as out:
            write_rows(result.outcomes, out)
    if summary is not None:
        encoded = msgspec.json.format(msgspec.json.encode(result.summary), indent=2)
        summary.write_bytes(encoded + b"\n")
