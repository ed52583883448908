"""What a report refuses to be made of."""

import math
from collections.abc import Callable

import msgspec
import pytest

from gateway.simulation.report_parts import Mark, Panel, Report, Run, Series

pytestmark = pytest.mark.req("INT-10")


def series(*points: tuple[float, float]) -> Series:
    return Series(label="l", points=points)


def mark(at_s: float) -> Mark:
    return Mark(at_s=at_s, text="t", kind="event")


PANEL = Panel(title="p", unit="s", series=(series((0.0, 1.0)),))
RUN = Run(title="r", panels=(PANEL,))


@pytest.mark.parametrize(
    "make",
    [
        lambda: series((1.0, 0.0), (0.0, 0.0)),
        lambda: series((math.nan, 0.0)),
        lambda: series((math.inf, 0.0)),
        lambda: Run(title="r", panels=(PANEL, PANEL)),
        lambda: Run(title="r", panels=(), marks=(mark(2.0), mark(1.0))),
        lambda: Run(title="r", panels=(), marks=(mark(math.nan),)),
        lambda: Report(runs=()),
        lambda: Report(runs=(RUN,) * 4),
        lambda: Report(runs=(RUN,), table=(("a", "b"), ("c",))),
    ],
)
def test_what_cannot_be_drawn_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"order|same title|1 to 3 runs|different lengths"):
        make()


def test_a_value_may_be_missing() -> None:
    series((0.0, math.nan), (0.0, 1.0))


def test_panel_titles_come_once_in_the_order_of_the_runs() -> None:
    first = msgspec.structs.replace(PANEL, title="a")
    other = Run(title="o", panels=(msgspec.structs.replace(PANEL, title="b"), PANEL))
    report = Report(runs=(Run(title="r", panels=(PANEL, first)), other))
    assert report.panel_titles == ["p", "a", "b"]
