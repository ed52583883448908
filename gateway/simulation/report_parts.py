"""What a report is made of: runs side by side, each with panels on one time axis. Values only.

How it looks is `plots` and `report`. A value that is NaN means "no data" and is a gap in the line.
"""

import math
from typing import Literal

import msgspec

MAX_RUNS = 3
MarkKind = Literal["climb", "descend", "rollback", "verdict", "event"]
"""What a mark says happened: a rung up, a rung down, an action taken back, an action judged, or
something outside the loop, such as the start of a spike."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line. A `step` keeps its value until the next point."""

    label: str
    points: tuple[tuple[float, float], ...]
    """(seconds, value) in time order."""
    style: Literal["line", "step"] = "line"
    objective: float | None = None
    """What the value should not exceed."""

    def __post_init__(self) -> None:
        times = [at_s for at_s, _ in self.points]
        if not all(map(math.isfinite, times)) or sorted(times) != times:
            raise ValueError(f"the points of {self.label!r} are not in time order")


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of a run. Panels of several runs with the same title are drawn to one scale."""

    title: str
    unit: str
    series: tuple[Series, ...]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened at one time; `text` is a word or three."""

    at_s: float
    text: str
    kind: MarkKind


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one controller made of the traffic."""

    title: str
    panels: tuple[Panel, ...]
    """With different titles."""
    marks: tuple[Mark, ...] = ()
    """In time order."""

    def __post_init__(self) -> None:
        if len({panel.title for panel in self.panels}) < len(self.panels):
            raise ValueError(f"two panels of {self.title!r} have the same title")
        times = [mark.at_s for mark in self.marks]
        if not all(map(math.isfinite, times)) or sorted(times) != times:
            raise ValueError(f"the marks of {self.title!r} are not in time order")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One to three runs of the same traffic, and what to read beside the picture."""

    title: str = ""
    subtitle: str = ""
    runs: tuple[Run, ...]
    table: tuple[tuple[str, ...], ...] = ()
    """Rows of equal length. The first row names the columns, the first column names the rows."""
    decisions: tuple[tuple[float, str], ...] = ()
    """(seconds, words) in time order."""
    facts: tuple[tuple[str, str], ...] = ()
    """(name, value): what the run was made with, so that it can be made again."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.runs) <= MAX_RUNS:
            raise ValueError(f"a report has 1 to {MAX_RUNS} runs, not {len(self.runs)}")
        if len({len(row) for row in self.table}) > 1:
            raise ValueError("the rows of a report's table have different lengths")

    @property
    def panel_titles(self) -> list[str]:
        """Each panel's title once, in the order of the first run that has it."""
        return list(dict.fromkeys(panel.title for run in self.runs for panel in run.panels))
