"""The report of a run, for `report.html`: its picture, its numbers, its decisions, what it was made with.

Must stay true: the same run gives the same report, so nothing that depends on the machine is in it.
"""

from gateway.simulation.report_parts import Report
from gateway.simulation.run import Result
from gateway.simulation.summary import IntentSummary, Summary
from gateway.simulation.summary_text import time_text
from gateway.simulation.timeline import picture
from gateway.simulation.words import clock

_COUNTS = ("offered", "served", "good", "refused", "dropped", "shed", "failed")


def report_of(result: Result) -> Report:
    """`result` must have been watched while it ran."""
    plan, summary = result.plan, result.summary
    column = picture(plan.controller, plan, result.outcomes, result.decisions, result.samples)
    return Report(
        title=f"{plan.controller}: {summary.good} of {summary.offered} requests good",
        subtitle=_subtitle(summary),
        runs=(column,),
        table=_table(summary),
        decisions=tuple((decision.at_s, decision.words) for decision in result.decisions),
        facts=plan.facts,
    )


def _subtitle(summary: Summary) -> str:
    told = f"{clock(summary.span_s)} of virtual time"
    if summary.load is not None:
        told += f" at {summary.load:.2f}x of what {summary.model} can do within its objectives"
    if summary.ratio_blind is not None:
        told += f"; goodput is {summary.ratio_blind:.3f} of the length-blind bound"
    return told


def _table(summary: Summary) -> tuple[tuple[str, ...], ...]:
    head = ("intent", *_COUNTS, "TTFT p95", "TPOT p95", "USD")
    return (head, *(_row(name, intent) for name, intent in summary.per_intent.items()))


def _row(name: str, intent: IntentSummary) -> tuple[str, ...]:
    return (
        name or "(none)",
        *(str(getattr(intent, count)) for count in _COUNTS),
        time_text(intent.ttft_p95_s),
        time_text(intent.tpot_p95_s),
        f"{intent.cost_usd:.4g}",
    )
