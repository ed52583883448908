"""Scales: one time for all, one value axis a row, and when it is logarithmic."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gateway.simulation.axis_scales import share_time, share_values, span_s, time_ticks
from gateway.simulation.report_parts import Mark, Panel, Report, Run, Series

pytestmark = pytest.mark.req("INT-10")


def panel(*values: float, objective: float | None = None) -> Panel:
    points = tuple((float(at_s), value) for at_s, value in enumerate(values))
    return Panel(
        title="p", unit="s", series=(Series(label="l", points=points, objective=objective),)
    )


def row(count: int) -> list[Axes]:
    figure = Figure()
    return [figure.add_subplot(1, count, place + 1) for place in range(count)]


def test_the_time_axis_spans_every_run_and_mark(report: Report) -> None:
    assert span_s(report) == (0.0, 300.0)
    late = Run(title="l", panels=(), marks=(Mark(at_s=400.0, text="t", kind="event"),))
    assert span_s(Report(runs=(*report.runs, late))) == (0.0, 400.0)


def test_a_report_without_points_still_has_a_time_axis() -> None:
    assert span_s(Report(runs=(Run(title="empty", panels=()),))) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("span", "most", "ticks"),
    [
        ((0.0, 300.0), 5, [0.0, 60.0, 120.0, 180.0, 240.0, 300.0]),
        ((7.0, 31.0), 5, [10.0, 15.0, 20.0, 25.0, 30.0]),
        ((0.0, 86_400.0), 6, [n * 14_400.0 for n in range(7)]),
    ],
)
def test_ticks_are_round_times(span: tuple[float, float], most: int, ticks: list[float]) -> None:
    assert time_ticks(*span, most) == ticks


@given(start_s=st.integers(-99, 99), lasts_s=st.integers(1, 10**7), most=st.integers(1, 12))
def test_there_are_never_too_many_ticks(start_s: int, lasts_s: int, most: int) -> None:
    ticks = time_ticks(float(start_s), float(start_s + lasts_s), most)
    assert len(ticks) <= most + 1
    assert all(start_s <= tick <= start_s + lasts_s for tick in ticks)


def test_times_read_like_a_clock() -> None:
    (axes,) = row(1)
    share_time(axes, (0.0, 120.0), [0.0, 65.0])
    assert [axes.xaxis.get_major_formatter()(tick) for tick in axes.get_xticks()] == [
        "0:00",
        "1:05",
    ]


def test_panels_of_a_row_have_one_scale_that_begins_at_zero() -> None:
    axes = row(2)
    assert not share_values(axes, [panel(1.0, 2.0), panel(8.0, math.nan, objective=9.0)])
    first, second = (a.get_ylim() for a in axes)
    assert first == second
    low, high = first
    assert -0.5 < low <= 0.0
    assert 9.0 < high < 12.0


def test_an_axis_is_logarithmic_where_one_run_leaves_its_objective_far_behind() -> None:
    axes = row(2)
    assert share_values(axes, [panel(0.2, 40.0, objective=0.8), panel(0.2, 0.7, objective=0.8)])
    assert [a.get_yscale() for a in axes] == ["log", "log"]
    low, high = axes[0].get_ylim()
    assert 0.0 < low < 0.2
    assert 40.0 < high < 100.0


def test_a_logarithmic_axis_spans_a_few_decades_at_most() -> None:
    axes = row(1)
    assert share_values(axes, [panel(0.0, 1e-9, 1e6, objective=1.0)])
    assert axes[0].get_ylim()[0] > 10.0


@pytest.mark.parametrize(
    "drawn", [panel(40.0), panel(8.0, objective=0.8), panel(40.0, objective=0.0)]
)
def test_without_an_objective_far_below_an_axis_is_linear(drawn: Panel) -> None:
    assert not share_values(row(1), [drawn])


@pytest.mark.parametrize("drawn", [panel(), panel(math.nan), panel(0.0), panel(-3.0)])
def test_there_is_a_scale_whatever_there_is_to_show(drawn: Panel) -> None:
    (axes,) = row(1)
    share_values([axes], [drawn])
    low, high = axes.get_ylim()
    assert low < 0.0 < high or low <= -3.0 < high


def test_rungs_have_whole_ticks() -> None:
    (axes,) = row(1)
    share_values([axes], [panel(0.0, 1.0, 2.0)])
    assert all(tick.is_integer() for tick in axes.get_yticks())
