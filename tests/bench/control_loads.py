"""One promise before one engine: constant loads, a slow-down, a step, and recorded traffic with its rivals."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from control_cases import TTFT_S, Case, Job, Measured, Row, full_rps
from control_measures import recovery_s, settled_s

from gateway.simulation.drift import parse_drift
from gateway.simulation.run import Result
from gateway.simulation.summary import judge
from gateway.simulation.trace import Arrival, read_trace
from gateway.simulation.traffic import poisson, stepped, varying

RIVALS = ("none", "static:100", "vegas", "gradient2", "envoy")
TRACES = (
    "azure23_code_m02_22",
    "azure23_conv_m00_20",
    "mooncake_conv_m00_20",
    "mooncake_synth_m00_18",
    "servegen_mlarge_d0_24h",
    "servegen_mlarge_d0_w137_140",
    "servegen_msmall_d9_w053_056",
    "servegen_r1_d0_w054_057",
    "servegen_r1_d0_w119_122",
)


def steady_loads(seeds: int, window_s: float) -> list[Case]:
    """One promise under constant load: how much of the bound, and no harm where there is room."""
    told = ((1.6, 0.92, ""), (0.5, 0.99, ""), (0.7, 0.99, ""), (1.6, 0.90, "1.5x slower half-way"))
    cases = []
    for load_x, target, drift in told:
        drifts = (parse_drift(f"at={window_s / 2:g}s,itl=1.5x"),) if drift else ()
        name = f"Poisson {load_x:g}x" + (f", {drift}" if drift else "")
        jobs = tuple(
            Job(
                scenario="one_model",
                arrivals=partial(poisson, load_x * full_rps(), window_s, seed),
                seed=seed,
                drifts=drifts,
            )
            for seed in range(1, seeds + 1)
        )
        cases.append(Case(name=name, jobs=jobs, rows=partial(_ratio_rows, name, target)))
    return cases


def _ratio_rows(name: str, target: float, measured: Sequence[Measured]) -> list[Row]:
    ratios = [one.ratio for one in measured]
    figure = mean(ratios)
    return [
        Row(
            case=name,
            figure=f"{figure:.3f} of the blind bound",
            target=f">= {target:.2f}",
            ok=figure >= target,
            detail=f"{min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} seeds",
        )
    ]


def traces(folder: Path, load_x: float = 1.6) -> list[Case]:
    """Recorded traffic, against every published limiter in front of the same engine."""
    cases = []
    for name in TRACES:
        path = folder / f"{name}.csv.gz"
        kinds: list[tuple[Callable[[Path], list[Arrival]], str]]
        kinds = [(read_trace, controller) for controller in ("setpoint", *RIVALS)]
        if name.startswith("servegen"):
            kinds.append((_by_nobody, "setpoint"))
        jobs = tuple(
            Job(
                scenario="trace",
                arrivals=partial(read, path),
                load=load_x,
                controller=controller,
            )
            for read, controller in kinds
        )
        rows = partial(_trace_rows, name, load_x)
        cases.append(Case(name=name, jobs=jobs if path.exists() else (), rows=rows))
    return cases


def _by_nobody(path: Path) -> list[Arrival]:
    """The requests without their tenants: then there is nothing to share fairly."""
    return [Arrival(a.arrival_s, a.input_tokens, a.output_tokens) for a in read_trace(path)]


def _trace_rows(name: str, load_x: float, measured: Sequence[Measured]) -> list[Row]:
    case = f"{name} {load_x:g}x"
    if not measured:
        return [Row(case=case, figure="not available", target="> 1 x the best rival")]
    ours, theirs = measured[0], dict(zip(RIVALS, measured[1:], strict=False))
    best = max(theirs, key=lambda rival: theirs[rival].good)
    times = ours.good / max(theirs[best].good, 1)
    shares = ", ".join(f"{rival} {one.ratio:.2f}" for rival, one in theirs.items())
    for unshared in measured[1 + len(RIVALS) :]:
        shares += f"; without tenants to share it between {unshared.ratio:.3f}"
    return [
        Row(
            case=case,
            figure=f"{times:.2f} x {best}",
            target="> 1 x the best rival",
            ok=times > 1.0,
            detail=f"of the blind bound: {ours.ratio:.3f}; {shares}",
        )
    ]


def step(seeds: int, at_s: float) -> Case:
    """From 0.7x of what the engine can do to 1.4x at once."""
    until_s = 3.0 * at_s
    rate = stepped(0.7 * full_rps(), until_s, at_s=at_s, factor=2.0)
    jobs = tuple(
        Job(
            scenario="one_model",
            arrivals=partial(varying, rate, seed),
            seed=seed,
            extra=partial(_step_extra, at_s, until_s),
        )
        for seed in range(1, seeds + 1)
    )
    return Case(name="step", jobs=jobs, rows=_step_rows)


def _step_extra(at_s: float, until_s: float, result: Result) -> dict[str, float]:
    is_good = judge(result.plan.policy)
    good = [is_good(outcome) for outcome in result.outcomes]
    return {
        "recovery_s": recovery_s(result.outcomes, TTFT_S, at_s, until_s),
        "settled_s": settled_s(result.outcomes, good, 0.9 * full_rps(), at_s, until_s),
    }


def _step_rows(measured: Sequence[Measured]) -> list[Row]:
    waits = [one.extra["recovery_s"] for one in measured]
    settled = [one.extra["settled_s"] for one in measured]
    return [
        Row(
            case="step 0.7x to 1.4x",
            figure=f"{max(waits):.2f} s until TTFT p95 is inside",
            target="< 5 s",
            ok=max(waits) < 5.0,
            detail=f"worst of {len(waits)} seeds, of first tokens of the last 5 s; "
            f"goodput at 0.9 of full after {max(settled):.1f} s",
        )
    ]
