"""One panel: its lines, its objectives, its legend, and how lines are thinned."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gateway.simulation import palette
from gateway.simulation.panel_drawing import (
    MARKS,
    draw_legend,
    draw_panel,
    draw_poles,
    thinned,
)
from gateway.simulation.report_parts import Mark, Panel, Series

pytestmark = pytest.mark.req("INT-10")

POINTS = ((0.0, 1.0), (1.0, 3.0), (2.0, math.nan), (3.0, 1.0))


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def panel(*series: Series, unit: str = "s") -> Panel:
    return Panel(title="p", unit=unit, series=series)


def legend(axes: Axes, drawn: Panel) -> list[str]:
    draw_legend(axes, drawn)
    told = axes.get_legend()
    return [text.get_text() for text in told.get_texts()] if told else []


def test_each_series_is_a_line_of_its_own_look(axes: Axes) -> None:
    draw_panel(axes, panel(*[Series(label=str(n), points=POINTS) for n in range(8)]))
    looks = {(line.get_color(), line.is_dashed()) for line in axes.get_lines()}
    assert len(axes.get_lines()) == len(looks) == 8
    assert axes.get_lines()[0].get_color() == palette.BLUE.light


def test_a_step_is_drawn_as_one(axes: Axes) -> None:
    draw_panel(axes, panel(Series(label="l", points=POINTS, style="step")))
    assert axes.get_lines()[0].get_drawstyle() == "steps-post"


@pytest.mark.parametrize("style", ["line", "step"])
def test_an_objective_is_a_dashed_line_and_what_exceeds_it_is_shaded(
    axes: Axes, style: str
) -> None:
    series = Series(label="l", points=POINTS, objective=2.0)
    draw_panel(axes, panel(series))
    assert list(axes.get_lines()[1].get_ydata()) == [2.0, 2.0]
    assert axes.get_lines()[1].is_dashed()
    (shade,) = axes.collections
    assert to_hex(shade.get_facecolor()[0]) == palette.LATE.light
    tops = [y for path in shade.get_paths() for _, y in path.vertices]
    assert (min(tops), max(tops)) == (2.0, 3.0)


def test_a_line_alone_needs_no_legend(axes: Axes) -> None:
    assert legend(axes, panel(Series(label="l", points=POINTS))) == []


def test_the_legend_names_lines_and_objectives_once(axes: Axes) -> None:
    two = panel(
        Series(label="a", points=POINTS, objective=0.8),
        Series(label="b", points=POINTS, objective=0.8),
    )
    assert legend(axes, two) == ["a", "b", "objective 0.8 s"]


def test_different_objectives_say_whose_they_are(axes: Axes) -> None:
    two = panel(
        Series(label="a", points=POINTS, objective=0.8),
        Series(label="b", points=POINTS, objective=30.0),
        unit="",
    )
    assert legend(axes, two) == ["a", "b", "objective of a 0.8", "objective of b 30"]


def test_a_mark_is_a_line_in_the_colour_of_its_kind(axes: Axes) -> None:
    draw_poles(axes, [Mark(at_s=4.0, text="t", kind=kind) for kind in MARKS])
    assert [line.get_color() for line in axes.get_lines()] == [c for _, c, _ in MARKS.values()]
    assert {tuple(line.get_xdata()) for line in axes.get_lines()} == {(4.0, 4.0)}


def test_every_kind_of_mark_has_a_sign_and_a_meaning_of_its_own() -> None:
    assert len({sign for sign, _, _ in MARKS.values()}) == len(MARKS)
    assert len({meaning for _, _, meaning in MARKS.values()}) == len(MARKS)


values = st.one_of(st.integers(-9, 9).map(float), st.just(math.nan))


@given(drawn=st.lists(values, max_size=200), most=st.integers(4, 60))
def test_a_thinned_line_has_the_same_outline(drawn: list[float], most: int) -> None:
    points = [(float(at_s), value) for at_s, value in enumerate(drawn)]
    kept = thinned(points, most)
    assert len(kept) <= max(most, 0)
    assert [at_s for at_s, _ in kept] == sorted({at_s for at_s, _ in kept})
    known = [v for v in drawn if not math.isnan(v)]
    left = [v for _, v in kept if not math.isnan(v)]
    if known:
        assert (min(left), max(left)) == (min(known), max(known))
    if points:
        assert (kept[0][0], kept[-1][0]) == (points[0][0], points[-1][0])


def test_a_gap_survives_thinning() -> None:
    points = [(float(n), math.nan if 400 <= n < 600 else 1.0) for n in range(1000)]
    assert any(math.isnan(value) for _, value in thinned(points, 40))
