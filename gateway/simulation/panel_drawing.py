"""One panel drawn on matplotlib axes: its lines, its objectives, the poles of the marks.

A line is thinned to what its pixels can show, so that a day costs no more than an hour. The scales are
`axis_scales`, the places are `drawing`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gateway.simulation import palette
from gateway.simulation.report_parts import Mark, MarkKind, Panel, Series
from gateway.simulation.words import shortened

Points = Sequence[tuple[float, float]]
MAX_POINTS = 1400
"""Of a line; at least two a pixel."""
MARKS: dict[MarkKind, tuple[str, str, str]] = {
    "climb": ("^", palette.RED.light, "a rung up"),
    "descend": ("v", palette.GREEN.light, "a rung down"),
    "rollback": ("X", palette.VIOLET.light, "an action taken back"),
    "verdict": ("o", palette.BLUE.light, "an action judged"),
    "event": ("D", palette.MUTED.light, "an event"),
}
"""The sign of each kind of mark, its colour, and what it means."""
LABEL_CHARACTERS = 32
_Dash = tuple[float, tuple[float, ...]]
_LINE_DASHES: tuple[Literal["-", "-."], ...] = ("-", "-.")
_OBJECTIVE_DASH: _Dash = (0, (4, 2.5))
_EVENT_DASH: _Dash = (0, (2, 2))


def draw_panel(axes: Axes, panel: Panel) -> None:
    """The lines, the first on top, with their objectives."""
    for number, series in enumerate(panel.series):
        points = thinned(series.points, MAX_POINTS)
        times, values = [at_s for at_s, _ in points], [value for _, value in points]
        axes.plot(
            times,
            values,
            color=_colour(number),
            linestyle=_dash(number),
            drawstyle="steps-post" if series.style == "step" else "default",
            linewidth=1.6,
            zorder=20 - number,
        )
        if series.objective is not None:
            _draw_objective(axes, series, times, values, series.objective)


def _draw_objective(
    axes: Axes, series: Series, times: list[float], values: list[float], objective: float
) -> None:
    """A dashed line, and shade between it and what lies above."""
    step = series.style == "step"
    axes.axhline(objective, color=palette.MUTED.light, linestyle=_OBJECTIVE_DASH, linewidth=1.1)
    axes.fill_between(
        times,
        values,
        objective,
        where=[value > objective for value in values],
        interpolate=not step,
        step="post" if step else None,
        color=palette.LATE.light,
        alpha=0.18,
        linewidth=0,
    )


def draw_legend(axes: Axes, panel: Panel) -> None:
    """Above the axes, at the right: which line is which, if there are several, and the objectives."""
    handles = [
        Line2D(
            [],
            [],
            color=_colour(number),
            linestyle=_dash(number),
            label=shortened(series.label, LABEL_CHARACTERS),
        )
        for number, series in enumerate(panel.series)
        if len(panel.series) > 1
    ]
    handles += [
        Line2D([], [], color=palette.MUTED.light, linestyle=_OBJECTIVE_DASH, label=text)
        for text in _objectives(panel)
    ]
    if handles:
        axes.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(handles),
            frameon=False,
            fontsize=9,
            borderaxespad=0.1,
            handlelength=1.8,
            columnspacing=1.4,
        )


def draw_poles(axes: Axes, marks: Iterable[Mark]) -> None:
    """A thin line for each mark, from top to bottom."""
    for mark in marks:
        axes.axvline(
            mark.at_s,
            color=MARKS[mark.kind][1],
            linestyle=_EVENT_DASH if mark.kind == "event" else "-",
            linewidth=0.9,
            alpha=0.65,
            zorder=2,
        )


def thinned(points: Points, most: int) -> list[tuple[float, float]]:
    """At most `most` points (4 at least) with the same outline: peaks and gaps survive.

    Of each of `most / 4` stretches the first, the last, the lowest and the highest point are kept, and
    a stretch without data stays one.
    """
    if len(points) <= most:
        return list(points)
    stretches = most // 4
    kept: list[tuple[float, float]] = []
    numbered = enumerate(points)
    for _, stretch in groupby(numbered, key=lambda at: at[0] * stretches // len(points)):
        kept += _outline([point for _, point in stretch])
    return kept


def _outline(points: Points) -> Iterator[tuple[float, float]]:
    places = range(len(points))
    known = [place for place in places if not math.isnan(points[place][1])] or places
    outer = {places[0], places[-1]}
    outer |= {pick(known, key=lambda place: points[place][1]) for pick in (min, max)}
    return (points[place] for place in sorted(outer))


def _objectives(panel: Panel) -> list[str]:
    told = [series for series in panel.series if series.objective is not None]
    several = len({series.objective for series in told}) > 1
    unit = f" {panel.unit}" if panel.unit else ""
    return list(
        dict.fromkeys(
            f"objective {f'of {series.label} ' if several else ''}{series.objective:g}{unit}"
            for series in told
        )
    )


def _colour(number: int) -> str:
    return palette.SERIES[number % len(palette.SERIES)].light


def _dash(number: int) -> Literal["-", "-."]:
    return _LINE_DASHES[number // len(palette.SERIES) % len(_LINE_DASHES)]
