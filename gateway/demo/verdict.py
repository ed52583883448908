"""Was the promise kept? For each stretch of a run, for the run, for the demo. Pure.

Must stay true: what the clients saw decides, and the words of `definition` say exactly what is decided here.
"""

import msgspec

from gateway.demo.measures import Figures, figures
from gateway.demo.record import Record, RunName
from gateway.demo.scenario import Promise, Scenario, Stretch


class StretchResult(msgspec.Struct, frozen=True, kw_only=True):
    """`broken` names the lines of the promise that were not kept, judged or not."""

    stretch: Stretch
    figures: Figures
    broken: tuple[str, ...]


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    run: RunName
    stretches: tuple[StretchResult, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """What was not kept in any stretch that is judged, each once."""
        judged = [result for result in self.stretches if result.stretch.judged]
        return tuple(dict.fromkeys(name for result in judged for name in result.broken))


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The demo shows what it is for if the promise was broken with the loop off, and kept with it on."""

    off: RunResult
    on: RunResult

    @property
    def shown(self) -> bool:
        return bool(self.off.broken) and not self.on.broken

    @property
    def words(self) -> str:
        off, on = _listed(self.off.broken), _listed(self.on.broken)
        if self.shown:
            return f"With the loop off the promise was broken ({off}); with it on it was kept."
        if not self.off.broken:
            return "With the loop off the promise was kept: there was nothing to show."
        return f"With the loop on the promise was broken too ({on}); with it off: {off}."


def judge(plan: Scenario, off: Record, on: Record) -> Verdict:
    return Verdict(off=_run(plan, off), on=_run(plan, on))


def definition(plan: Scenario) -> str:
    """What "kept" means, in full."""
    promise = plan.promise
    return (
        f"Kept means, in each stretch but the first {plan.grace_s:g} s of the spike (the loop must "
        f"first see that something is wrong): TTFT p95 <= {promise.ttft_p95_s * 1000:g} ms, where an "
        f"answer that was refused or failed counts as one that never came; TPOT p95 <= "
        f"{promise.tpot_p95_s * 1000:g} ms; at most {promise.error_share * 100:g}% of the requests "
        f"failed; and no {promise.window_s:g} s cost more than {promise.usd_per_minute:g} USD a "
        f"minute. All of it as the clients saw it."
    )


def broken(promise: Promise, seen: Figures) -> tuple[str, ...]:
    """The lines of the promise that a stretch's figures do not keep."""
    found = []
    if seen.ttft_p95_s is not None and seen.ttft_p95_s > promise.ttft_p95_s:
        found.append("TTFT")
    if seen.tpot_p95_s is not None and seen.tpot_p95_s > promise.tpot_p95_s:
        found.append("TPOT")
    if seen.failed > promise.error_share * seen.offered:
        found.append("errors")
    if seen.usd_per_minute > promise.usd_per_minute:
        found.append("cost")
    return tuple(found)


def _run(plan: Scenario, record: Record) -> RunResult:
    results = []
    for stretch in plan.stretches:
        seen = figures(plan, record.exchanges, stretch)
        results.append(
            StretchResult(stretch=stretch, figures=seen, broken=broken(plan.promise, seen))
        )
    return RunResult(run=record.run, stretches=tuple(results))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
