"""What the demo leaves behind: the table on the terminal, the report, the picture, the decision log."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.demo import picture, summary
from gateway.demo.record import Record
from gateway.demo.scenario import Scenario
from gateway.demo.screen import PLAIN_COLUMNS
from gateway.demo.verdict import Verdict, definition
from gateway.simulation import plots, report
from gateway.simulation.words import clock

_encode = msgspec.json.Encoder().encode


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Where to write what. None: not at all."""

    report: Path | None = None
    png: Path | None = None
    decisions: Path | None = None

    def each(self) -> Iterator[Path]:
        yield from filter(None, (self.report, self.png, self.decisions))

    def check(self) -> None:
        """Before two minutes are spent on it. Raises ValueError for what could not be written."""
        for path in self.each():
            if path.is_dir():
                raise ValueError(f"{path} is a folder")
            if not path.parent.is_dir():
                raise ValueError(f"there is no folder {path.parent}")
        if (self.report or self.png) and importlib.util.find_spec("matplotlib") is None:
            raise ValueError("plots need matplotlib: `make install`, or pip install matplotlib")


def tell(out: TextIO, plan: Scenario, off: Record, on: Record, verdict: Verdict) -> None:
    """The decisions, the table, and what it says."""
    columns = None if out.isatty() else PLAIN_COLUMNS
    console = Console(file=out, width=columns, highlight=False, soft_wrap=True)
    console.print()
    for at_s, words in summary.decisions(off, on):
        console.print(Text(f"{clock(at_s):>6}  {words}"))
    console.print()
    console.print(_table(summary.table(verdict)))
    console.print()
    console.print(Text(verdict.words, style="bold green" if verdict.shown else "bold red"))
    console.print(Text(definition(plan)))
    for record in (off, on):
        for error in record.errors:
            words = f"{record.run}: the gateway logged an error: {error}"
            console.print(Text(words, style="yellow"))


def save(files: Files, plan: Scenario, off: Record, on: Record, verdict: Verdict) -> None:
    """Write the files. Raises OSError, plots.NoMatplotlib."""
    if files.decisions is not None:
        files.decisions.write_bytes(decision_log(off, on))
    if files.report is None and files.png is None:
        return
    drawn = picture.report(plan, off, on, verdict)
    if files.png is not None:
        files.png.write_bytes(plots.png(drawn))
    if files.report is not None:
        files.report.write_text(report.html(drawn), encoding="utf-8")


def decision_log(*records: Record) -> bytes:
    """JSON Lines: each decision as the gateway told it, with its run, and when in it."""
    lines = [
        _encode(
            {
                "run": record.run,
                "run_s": round(heard.at_s, 3),
                **msgspec.to_builtins(heard.decision),
            }
        )
        for record in records
        for heard in record.heard
    ]
    return b"".join(line + b"\n" for line in lines)


def _table(rows: tuple[tuple[str, ...], ...]) -> Table:
    head, *body = rows
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(head):
        table.add_column(
            name, justify="right" if 0 < number < len(head) - 1 else "left", no_wrap=True
        )
    for row in body:
        table.add_row(*row)
    return table
