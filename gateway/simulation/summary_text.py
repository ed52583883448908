"""A run's summary for a terminal: what came of it in a few lines, and the decisions in words.

Plain text where nobody looks at a terminal. Must stay true: the same summary gives the same text.
"""

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.simulation.summary import IntentSummary, Summary
from gateway.simulation.words import clock

MAX_DECISIONS = 40
"""Shown; `--json` has all of them."""
PLAIN_COLUMNS = 160
"""The width where the output is no terminal."""
_HEAD = ("intent", "offered", "served", "good", "refused", "dropped", "shed", "failed")
_LATENCIES = ("ttft p95", "tpot p95", "cost")


def write_summary(summary: Summary, out: TextIO, *, notes: Sequence[str] = ()) -> None:
    """Print it. `notes` are sentences to put first."""
    terminal = out.isatty()
    console = Console(
        file=out, width=None if terminal else PLAIN_COLUMNS, highlight=False, soft_wrap=True
    )
    for note in notes:
        console.print(Text(f"note: {note}", style="yellow"))
    for nth, line in enumerate(_headlines(summary)):
        console.print(Text(line, style="bold" if nth == 0 else ""))
    console.print()
    console.print(_table(summary))
    console.print()
    for line in _decisions(summary):
        console.print(Text(line))


def _headlines(summary: Summary) -> Iterable[str]:
    load = "" if summary.load is None else f" at {summary.load:.2f}x of what {summary.model} can do"
    yield (
        f"{summary.controller}: {summary.good} of {summary.offered} requests good"
        f" in {clock(summary.span_s)}{load}"
    )
    if summary.goodput_rps is not None:
        yield (
            f"{summary.goodput_rps:.3g} good/s: {_share(summary.ratio_blind)} of the blind bound "
            f"({_rate(summary.bound_blind_rps)}), {_share(summary.ratio_aware)} of the clairvoyant "
            f"one ({_rate(summary.bound_aware_rps)})"
        )
    served = ", ".join(f"{count} by {model}" for model, count in summary.served_by.items())
    yield f"served {served or 'nobody'}; {summary.cost_usd:.4g} USD; took {summary.wall_s:.1f} s"


def _table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (*_HEAD, *_LATENCIES):
        table.add_column(name, justify="left" if name == "intent" else "right", no_wrap=True)
    for name, intent in summary.per_intent.items():
        table.add_row(name or "(none)", *_cells(intent))
    return table


def _cells(intent: IntentSummary) -> Iterable[str]:
    for name in _HEAD[1:]:
        yield str(getattr(intent, name))
    yield time_text(intent.ttft_p95_s)
    yield time_text(intent.tpot_p95_s)
    yield f"{intent.cost_usd:.4g} USD"


def _decisions(summary: Summary) -> Iterable[str]:
    if not summary.decisions:
        yield "no decisions: nothing had to be done"
        return
    for decision in summary.decisions[:MAX_DECISIONS]:
        yield f"{clock(decision.at_s):>8}  {decision.words}"
    if len(summary.decisions) > MAX_DECISIONS:
        yield f"          and {len(summary.decisions) - MAX_DECISIONS} more"
    told = [
        f"{count} {verdict.replace('_', ' ')}"
        for verdict, count in summary.verdicts.items()
        if count
    ]
    flaps = summary.flaps_per_hour or 0.0
    yield f"verdicts: {', '.join(told) or 'none'}; {flaps:.3g} flaps an hour"


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _rate(rps: float | None) -> str:
    return "-" if rps is None else f"{rps:.3g}/s"


def time_text(seconds: float | None) -> str:
    """`24.3 ms`, `1.44 s`; `-` for none."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
