"""A report to draw: two runs of a spike, one without control and one with."""

import pytest

from gateway.simulation.report_parts import Mark, Panel, Report, Run, Series

END_S = 300


def _points(before: float, during: float) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(at_s), during if 60 <= at_s < 180 else before) for at_s in range(0, END_S + 1, 5)
    )


def _run(title: str, ttft_s: float, rung: float, *marks: Mark) -> Run:
    ttft = Series(label="interactive", points=_points(0.25, ttft_s), objective=0.8)
    waiting = (
        Series(label="gateway", points=_points(0.0, ttft_s * 10)),
        Series(label="engine", points=_points(0.0, ttft_s)),
    )
    rungs = Series(label="interactive", points=_points(0.0, rung), style="step")
    return Run(
        title=title,
        panels=(
            Panel(title="TTFT p95", unit="s", series=(ttft,)),
            Panel(title="Waiting", unit="", series=waiting),
            Panel(title="Rung", unit="", series=(rungs,)),
        ),
        marks=marks,
    )


@pytest.fixture
def report() -> Report:
    spike = Mark(at_s=60.0, text="spike", kind="event")
    return Report(
        title="A spike",
        subtitle="2.3 times the traffic for two minutes",
        runs=(
            _run("No control", 40.0, 0.0, spike),
            _run(
                "Setpoint",
                0.7,
                3.0,
                spike,
                Mark(at_s=64.0, text="switch model", kind="climb"),
                Mark(at_s=84.0, text="confirmed", kind="verdict"),
                Mark(at_s=214.0, text="normal", kind="descend"),
            ),
        ),
        table=(("", "No control", "Setpoint"), ("Good answers", "31 %", "94 %")),
        decisions=((64.0, "switched model"), (84.0, "confirmed: 3 of 160 late")),
        facts=(("seed", "1"),),
    )
