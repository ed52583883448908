"""What is shown while it runs."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from contracts.control import LoggedDecision
from gateway.demo.exchange import Exchange
from gateway.demo.scenario import Promise, Scenario
from gateway.demo.screen import LiveScreen, PlainScreen, glance, make_screen, panel
from gateway.demo.watcher import Heard, Sight

pytestmark = pytest.mark.req("INT-10", "INT-7")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(content: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(content)
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # it is the StringIO above


def test_who_still_waits_has_waited_so_long_at_least(
    plan: Scenario, make_answered: Callable[..., Exchange]
) -> None:
    waiting = make_answered(20.0)
    waiting.fate, waiting.first_s, waiting.last_s = "open", None, None
    seen = glance(plan, "loop off", 30.0, [make_answered(28.0), waiting], [], [])
    assert seen.ttft_p95_s == pytest.approx(10.0)
    assert (seen.answered, seen.open, seen.refused) == (1, 1, 0)
    assert seen.phase == "spike"


def test_now_is_the_last_seconds(plan: Scenario, make_answered: Callable[..., Exchange]) -> None:
    exchanges = [make_answered(1.0, ttft_s=9.0), make_answered(28.0), make_answered(29.0)]
    seen = glance(plan, "loop off", 30.0, exchanges, [], [])
    assert seen.ttft_p95_s == pytest.approx(0.2)
    assert seen.rate_rps == pytest.approx(0.4)


def test_before_the_first_request_there_is_nothing_to_tell(plan: Scenario) -> None:
    seen = glance(plan, "loop off", 0.0, [], [], [])
    assert (seen.ttft_p95_s, seen.tpot_p95_s, seen.rate_rps) == (None, None, 0.0)
    assert "TTFT p95 -" in drawn(panel(seen, Promise()))


def test_the_panel_tells_phase_latency_rung_and_the_last_decision(
    plan: Scenario,
    make_answered: Callable[..., Exchange],
    make_sight: Callable[..., Sight],
    make_decision: Callable[..., LoggedDecision],
) -> None:
    heard = [Heard(23.0, make_decision(1, "climb", "switched model [b] for interactive"))]
    sights = [make_sight(29.0, rungs=1)]
    seen = glance(plan, "loop on", 30.0, [make_answered(29.0)], sights, heard)
    told = drawn(panel(seen, Promise()))
    for part in (
        "loop on: spike, 0:30 of 1:00",
        "0.2 requests/s",
        "TTFT p95 200 ms",
        "met",
        "rung 1 of 2",
        "0:23  switched model [b] for interactive",
    ):
        assert part in told


def test_plain_lines_tell_each_phase_and_each_decision_once(
    plan: Scenario, make_decision: Callable[..., LoggedDecision]
) -> None:
    out = io.StringIO()
    screen = make_screen(out, Promise())
    assert isinstance(screen, PlainScreen)
    screen.say("hello")
    heard = [Heard(23.0, make_decision(1, "climb", "switched model"))]
    for at_s in (1.0, 2.0, 24.0, 25.0):
        known = heard if at_s > 23 else []
        screen.show(glance(plan, "loop on", at_s, [], [], known))
    heard.append(Heard(25.0, make_decision(2, "verdict", "confirmed")))
    screen.show(glance(plan, "loop on", 61.0, [], [], heard))
    screen.close()
    assert [line.split("  ")[-1] for line in out.getvalue().splitlines()] == [
        "hello",
        "loop on: calm",
        "loop on: spike",
        "loop on: switched model",
        "loop on: the last answers",
        "loop on: confirmed",
    ]


def test_the_second_runs_decisions_are_told_although_their_numbers_begin_again(
    plan: Scenario, make_decision: Callable[..., LoggedDecision]
) -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    heard = [Heard(1.0, make_decision(1, "climb", "switched model"))]
    screen.show(glance(plan, "loop off", 2.0, [], [], heard))
    screen.show(glance(plan, "loop on", 2.0, [], [], heard))
    assert out.getvalue().count("switched model") == 2


def test_a_terminal_gets_a_live_panel(plan: Scenario) -> None:
    out = Terminal()
    screen = make_screen(out, Promise())
    assert isinstance(screen, LiveScreen)
    screen.show(glance(plan, "loop on", 1.0, [], [], []))
    screen.say("a line that stays")
    screen.close()
    assert "loop on: calm" in out.getvalue()
    assert "a line that stays" in out.getvalue()
