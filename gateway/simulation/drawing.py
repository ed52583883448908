"""A report laid out with matplotlib: a column a run, a row a panel, the marks' words above each column.

`plots` imports this module lazily, nobody else does. There is no pyplot, so no state outlives a figure.
"""

import io
import textwrap
import warnings
from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gateway.simulation import palette
from gateway.simulation.axis_scales import share_time, share_values, span_s, time_ticks
from gateway.simulation.mark_lanes import lanes
from gateway.simulation.panel_drawing import MARKS, draw_legend, draw_panel, draw_poles
from gateway.simulation.report_parts import Mark, Panel, Report, Run
from gateway.simulation.words import shortened

WIDTH_IN, DPI = 14.0, 100
LEFT_IN, RIGHT_IN, GUTTER_IN = 0.8, 0.3, 0.5
TITLE_IN, LINE_IN, RUN_TITLE_IN, FOOT_IN = 0.55, 0.23, 0.45, 0.85
ROW_TITLE_IN, ROW_IN = 0.5, 1.25
SIGN_IN, LANE_IN, LANE_CHARACTER_IN, MOST_LANES = 0.2, 0.175, 0.078, 6
TITLE_CHARACTERS, SUBTITLE_CHARACTERS, MARK_CHARACTERS = 90, 150, 28
SUBTITLE_LINES = 3
TICK_IN = 0.9
"""What a time on the axis needs."""


def _look() -> AbstractContextManager[None]:
    """The settings of every figure, whatever the user's own matplotlibrc says."""
    settings = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "text.color": palette.INK.light,
        "text.parse_math": False,
        "axes.edgecolor": palette.GRID.light,
        "axes.facecolor": palette.PAPER.light,
        "axes.linewidth": 0.8,
        "figure.facecolor": palette.PAPER.light,
        "grid.color": palette.GRID.light,
        "grid.linewidth": 0.8,
        "svg.fonttype": "none",
        "svg.hashsalt": "setpoint",
        "xtick.color": palette.MUTED.light,
        "ytick.color": palette.MUTED.light,
    }
    return mpl.style.context(["default", settings])


def saved(report: Report, kind: Literal["svg", "png"]) -> bytes:
    """The figure as a file, without a date or a version in it."""
    names = ("Date", "Creator", "Format", "Type") if kind == "svg" else ("Software",)
    file = io.BytesIO()
    with _look(), warnings.catch_warnings():
        # A sign that the font lacks is a box in the PNG; whoever shows the SVG has other fonts.
        warnings.filterwarnings("ignore", message="Glyph")
        drawn(report).savefig(file, format=kind, metadata=dict.fromkeys(names))
    if kind == "png":
        return file.getvalue()
    # Whoever lacks the font must not get one with serifs; Verdana is as wide.
    return file.getvalue().replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif")


def drawn(report: Report) -> Figure:
    """The figure: 1400 pixels wide, as high as its rows make it."""
    with _look():
        sheet = _Sheet(report)
        sheet.head()
        sheet.body()
        sheet.foot()
        return sheet.figure


class _Sheet:
    """One figure. Lengths are inches, from its left and from its top."""

    def __init__(self, report: Report) -> None:
        runs = len(report.runs)
        self._report = report
        self._subtitle = textwrap.wrap(
            shortened(report.subtitle, SUBTITLE_CHARACTERS * SUBTITLE_LINES), SUBTITLE_CHARACTERS
        )
        self._span_s = span_s(report)
        self._column_in = (WIDTH_IN - LEFT_IN - RIGHT_IN - GUTTER_IN * (runs - 1)) / runs
        self._lanes = min(range(1, MOST_LANES + 1), key=self._wordless)
        with_marks = any(run.marks for run in report.runs)
        self._strip_in = with_marks * (SIGN_IN + LANE_IN * self._lanes)
        self._run_titles_in = TITLE_IN * bool(report.title) + LINE_IN * len(self._subtitle)
        self._rows_in = self._run_titles_in + RUN_TITLE_IN + self._strip_in
        rows_in = (ROW_TITLE_IN + ROW_IN) * len(report.panel_titles)
        self._height_in = self._rows_in + rows_in + FOOT_IN
        self.figure = Figure(figsize=(WIDTH_IN, self._height_in), dpi=DPI)

    def head(self) -> None:
        title = shortened(self._report.title, TITLE_CHARACTERS)
        self._write(LEFT_IN, 0.42, title, fontsize=16, fontweight="bold")
        for number, line in enumerate(self._subtitle):
            self._write(LEFT_IN, 0.69 + LINE_IN * number, line, color=palette.MUTED.light)

    def body(self) -> None:
        for column, run in enumerate(self._report.runs):
            title = shortened(run.title, TITLE_CHARACTERS // len(self._report.runs))
            down_in = self._run_titles_in + 0.32
            self._write(self._left_in(column), down_in, title, fontsize=12, fontweight="bold")
            self._strip(column, run)
        for number, title in enumerate(self._report.panel_titles):
            self._row(number, title)

    def foot(self) -> None:
        """What the signs mean, those that are there."""
        kinds = {mark.kind for run in self._report.runs for mark in run.marks}
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=colour, marker=sign, linestyle="", markersize=6, label=meaning)
            for kind, (sign, colour, meaning) in MARKS.items()
            if kind in kinds
        ]
        if any(
            s.objective is not None for r in self._report.runs for p in r.panels for s in p.series
        ):
            late = Patch(
                color=palette.LATE.light, alpha=0.18, linewidth=0, label="over the objective"
            )
            handles.append(late)
        if handles:
            self.figure.legend(
                handles=handles,
                loc="lower left",
                bbox_to_anchor=(LEFT_IN / WIDTH_IN, 0.08 / self._height_in),
                ncols=len(handles),
                frameon=False,
                fontsize=9,
                borderaxespad=0.0,
                borderpad=0.0,
                handletextpad=0.4,
            )
        down_in = self._height_in - 0.1
        self._write(
            WIDTH_IN - RIGHT_IN,
            down_in,
            "time: minutes:seconds",
            color=palette.MUTED.light,
            fontsize=9,
            horizontalalignment="right",
        )

    def _row(self, number: int, title: str) -> None:
        top_in = self._rows_in + ROW_TITLE_IN + (ROW_TITLE_IN + ROW_IN) * number
        last = number == len(self._report.panel_titles) - 1
        row: list[Axes] = []
        panels: list[Panel] = []
        for column, run in enumerate(self._report.runs):
            axes = self._axes(column, top_in, ROW_IN)
            axes.grid(axis="y")
            axes.tick_params(length=0, labelsize=9, labelleft=column == 0, labelbottom=last)
            row.append(axes)
            for panel in run.panels:
                if panel.title == title:
                    draw_panel(axes, panel)
                    panels.append(panel)
            draw_poles(axes, run.marks)
        remarks = [panels[0].unit, "log scale" if share_values(row, panels) else ""]
        told = f" ({', '.join(filter(None, remarks))})" if any(remarks) else ""
        row[0].set_title(
            shortened(title + told, 60), loc="left", fontsize=10.5, fontweight="bold", pad=5
        )
        draw_legend(row[-1], max(panels, key=lambda panel: len(panel.series)))

    def _strip(self, column: int, run: Run) -> None:
        """The signs of the marks on a line, their words above."""
        if not run.marks:
            return
        axes = self._axes(column, self._run_titles_in + RUN_TITLE_IN, self._strip_in)
        axes.set_ylim(0.0, self._strip_in)
        axes.set_axis_off()
        for mark, lane in zip(run.marks, self._chosen(run, self._lanes), strict=True):
            _draw_flag(axes, mark, lane)

    def _chosen(self, run: Run, count: int) -> list[int | None]:
        start_s, end_s = self._span_s
        scale = self._column_in / (end_s - start_s)
        places = [(mark.at_s - start_s) * scale for mark in run.marks]
        widths = [len(_words(mark)) * LANE_CHARACTER_IN + 0.12 for mark in run.marks]
        return lanes(places, widths, count=count, end=self._column_in + 0.1)

    def _wordless(self, count: int) -> int:
        """How many marks find no room for their words in this many lanes."""
        return sum(self._chosen(run, count).count(None) for run in self._report.runs)

    def _axes(self, column: int, top_in: float, high_in: float) -> Axes:
        axes = self.figure.add_axes(
            (
                self._left_in(column) / WIDTH_IN,
                1.0 - (top_in + high_in) / self._height_in,
                self._column_in / WIDTH_IN,
                high_in / self._height_in,
            )
        )
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        ticks = time_ticks(*self._span_s, most=int(self._column_in / TICK_IN))
        share_time(axes, self._span_s, ticks)
        return axes

    def _left_in(self, column: int) -> float:
        return LEFT_IN + (self._column_in + GUTTER_IN) * column

    def _write(self, left_in: float, down_in: float, text: str, **look: Any) -> None:
        self.figure.text(left_in / WIDTH_IN, 1.0 - down_in / self._height_in, text, **look)


def _words(mark: Mark) -> str:
    return shortened(mark.text, MARK_CHARACTERS)


def _draw_flag(axes: Axes, mark: Mark, lane: int | None) -> None:
    sign, colour, _ = MARKS[mark.kind]
    axes.plot([mark.at_s], [0.06], marker=sign, color=colour, markersize=6, clip_on=False)
    if lane is None:
        return
    middle_in = SIGN_IN + LANE_IN * (lane + 0.5)
    axes.plot([mark.at_s, mark.at_s], [0.06, middle_in + 0.07], color=colour, linewidth=0.9)
    axes.annotate(
        _words(mark),
        (mark.at_s, middle_in),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=8.5,
        color=colour,
        verticalalignment="center",
        annotation_clip=False,
    )
