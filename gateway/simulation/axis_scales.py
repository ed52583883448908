"""The scales of a report's axes: one time axis for all, one value axis for each row of panels.

A value axis begins at 0, so that lengths can be compared by eye. It becomes logarmithic where one run
leaves its objective so far behind that the others would be flat lines.
"""

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gateway.simulation.report_parts import Panel, Report
from gateway.simulation.words import clock, number

LOG_ABOVE = 12.0
"""Peak over objective from which on an axis is logarithmic."""
_DECADES = 4
"""Of a logarithmic axis, at most."""
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)


def span_s(report: Report) -> tuple[float, float]:
    """From the first point or mark of any run to the last, at least a second."""
    times = [
        at_s
        for run in report.runs
        for panel in run.panels
        for series in panel.series
        for at_s, _ in series.points
    ]
    times += [mark.at_s for run in report.runs for mark in run.marks]
    start_s, end_s = min(times, default=0.0), max(times, default=0.0)
    return start_s, max(end_s, start_s + 1.0)


def time_ticks(start_s: float, end_s: float, most: int) -> list[float]:
    """Round times in the span, at most `most` + 1 of them."""
    wanted_s = (end_s - start_s) / most
    step_s = next((step for step in _STEPS_S if step >= wanted_s), math.ceil(wanted_s))
    first, last = math.ceil(start_s / step_s), math.floor(end_s / step_s)
    return [float(number * step_s) for number in range(first, last + 1)]


def share_time(axes: Axes, span: tuple[float, float], ticks: Sequence[float]) -> None:
    axes.set_xlim(*span)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at_s, _: clock(at_s)))


def share_values(row: Iterable[Axes], panels: Sequence[Panel]) -> bool:
    """Give the axes of one row the scale that suits all its panels; True if it is logarithmic."""
    series = [line for panel in panels for line in panel.series]
    values = [v for line in series for _, v in line.points if math.isfinite(v)]
    objectives = [line.objective for line in series if line.objective is not None]
    logarithmic = bool(objectives) and is_logarithmic(values, min(objectives))
    for axes in row:
        if logarithmic:
            _logarithmic(axes, values, min(objectives))
        else:
            _linear(axes, [*values, *objectives])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    return logarithmic


def is_logarithmic(values: Sequence[float], objective: float) -> bool:
    return objective > 0.0 and max(values, default=0.0) > LOG_ABOVE * objective


def _linear(axes: Axes, values: Sequence[float]) -> None:
    low, high = min([0.0, *values]), max([0.0, *values])
    whole = all(float(value).is_integer() for value in values)
    high = high if high > low else 1.0
    # A line at 0 lies on the grid and not on the frame.
    axes.set_ylim(low - 0.04 * (high - low), high + 0.1 * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=whole))


def _logarithmic(axes: Axes, values: Sequence[float], objective: float) -> None:
    peak = max(values)
    low = min([objective, *(value for value in values if value > 0.0)])
    low = max(low, peak / 10.0**_DECADES)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(low / 1.5, peak * 1.5)
    subs = (1.0,) if peak / low > 1000.0 else (1.0, 3.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
