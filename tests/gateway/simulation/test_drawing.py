"""The layout of a figure: columns, rows, marks and what they mean."""

import matplotlib as mpl
import msgspec
import pytest
from matplotlib.figure import Figure

from gateway.simulation.drawing import drawn, saved
from gateway.simulation.report_parts import Mark, Report, Run

pytestmark = pytest.mark.req("INT-10")


def texts(figure: Figure) -> list[str]:
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return [text.get_text() for text in found]


def panels(figure: Figure) -> list[list[tuple[float, float]]]:
    """(x, y) of each panel's lower left corner in pixels, a list a row from the top."""
    corners = [axes.get_window_extent().p0 for axes in figure.axes if axes.axison]
    rows = sorted({round(y) for _, y in corners}, reverse=True)
    return [sorted((x, y) for x, y in corners if round(y) == row) for row in rows]


def test_a_run_is_a_column_and_a_panel_a_row(report: Report) -> None:
    figure = drawn(report)
    rows = panels(figure)
    assert [len(row) for row in rows] == [2, 2, 2]
    assert len({x for row in rows for x, _ in row}) == 2
    assert figure.get_size_inches()[0] * figure.dpi == 1400.0


def test_titles_are_there(report: Report) -> None:
    figure = drawn(report)
    assert {"A spike", report.subtitle, "No control", "Setpoint"} <= set(texts(figure))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert [t for t in titles if t] == ["TTFT p95 (s, log scale)", "Waiting", "Rung"]


def test_nothing_leaves_the_figure(report: Report) -> None:
    figure = drawn(report)
    whole = figure.get_window_extent()
    for text in (t for axes in figure.axes for t in axes.texts):
        box = text.get_window_extent()
        assert box.x0 >= whole.x0
        assert box.x1 <= whole.x1
        assert box.y1 <= whole.y1


def test_marks_have_their_words_and_only_their_kinds_are_explained(report: Report) -> None:
    figure = drawn(report)
    assert texts(figure).count("spike") == 2
    assert {"switch model", "confirmed", "normal"} <= set(texts(figure))
    meanings = [text.get_text() for text in figure.legends[0].get_texts()]
    assert meanings == [
        "a rung up",
        "a rung down",
        "an action judged",
        "an event",
        "over the objective",
    ]


def test_a_panel_that_one_run_lacks_is_an_empty_place(report: Report) -> None:
    less = msgspec.structs.replace(report.runs[1], panels=report.runs[1].panels[:1])
    figure = drawn(msgspec.structs.replace(report, runs=(report.runs[0], less)))
    assert [len(row) for row in panels(figure)] == [2, 2, 2]


def test_a_run_without_anything_can_be_drawn() -> None:
    bare = Report(runs=(Run(title="", panels=()),))
    assert not drawn(bare).legends
    assert saved(bare, "png").startswith(b"\x89PNG")


def test_hundreds_of_marks_can_be_drawn(report: Report) -> None:
    marks = tuple(Mark(at_s=float(n), text=f"mark {n}", kind="climb") for n in range(300))
    run = msgspec.structs.replace(report.runs[0], marks=marks)
    told = [t for t in texts(drawn(Report(runs=(run,)))) if t.startswith("mark")]
    assert 10 < len(told) < 300


def test_three_runs_fit(report: Report) -> None:
    three = msgspec.structs.replace(report, runs=(*report.runs, report.runs[0]))
    assert [len(row) for row in panels(drawn(three))] == [3, 3, 3]


def test_drawing_leaves_matplotlibs_settings_alone(report: Report) -> None:
    before = dict(mpl.rcParams)
    saved(report, "svg")
    assert dict(mpl.rcParams) == before
