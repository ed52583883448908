"""What a run prints."""

import io
from pathlib import Path

import msgspec
import pytest

from contracts.control import LoopDecision
from gateway.simulation.plan import Plan
from gateway.simulation.run import run
from gateway.simulation.summary import Summary
from gateway.simulation.summary_text import MAX_DECISIONS, time_text, write_summary
from tests.fakes.simulated import plan_of, requests

pytestmark = pytest.mark.req("INT-12")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path, requests(0.0, 30.0, 65.0))


def printed(summary: Summary, out: io.StringIO | None = None, **more: object) -> str:
    out = out or io.StringIO()
    write_summary(summary, out, **more)
    return out.getvalue()


def decided(count: int, words: str = "shed half") -> tuple[LoopDecision, ...]:
    return tuple(
        LoopDecision(seq=nth, at_s=61.0 + nth, kind="climb", intent="chat", words=words)
        for nth in range(count)
    )


def test_a_run_is_told_in_a_few_lines(plan: Plan) -> None:
    lines = printed(run(plan).summary).splitlines()
    assert lines[0].startswith("setpoint: 3 of 3 requests good in 1:05 at 0.0")
    assert "1.000 of the blind bound (0.0462/s)" in lines[1]
    assert lines[2].startswith("served 3 by big; 0.000366 USD; took ")
    head, row = (line.split() for line in lines[4:6])
    assert head[:4] == ["intent", "offered", "served", "good"]
    assert row[:4] == ["chat", "3", "3", "3"]
    assert lines[-1] == "no decisions: nothing had to be done"


def test_decisions_are_told_in_words_with_their_time_and_verdicts_counted(plan: Plan) -> None:
    summary = msgspec.structs.replace(
        run(plan).summary,
        decisions=decided(2),
        verdicts={"confirmed": 3, "no_effect": 1, "harmful": 0},
        flaps_per_hour=1.5,
    )
    assert printed(summary).splitlines()[-3:] == [
        "    1:01  shed half",
        "    1:02  shed half",
        "verdicts: 3 confirmed, 1 no effect; 1.5 flaps an hour",
    ]


def test_a_long_log_is_cut_and_says_so(plan: Plan) -> None:
    summary = msgspec.structs.replace(run(plan).summary, decisions=decided(MAX_DECISIONS + 5))
    text = printed(summary)
    assert text.count("shed half") == MAX_DECISIONS
    assert "and 5 more" in text


def test_a_long_sentence_is_one_line_where_nobody_looks_at_a_terminal(plan: Plan) -> None:
    words = "word " * 100
    summary = msgspec.structs.replace(run(plan).summary, decisions=decided(1, words.strip()))
    assert words.strip() in printed(summary)


def test_what_looks_like_markup_stays_as_it_is(plan: Plan) -> None:
    summary = msgspec.structs.replace(run(plan).summary, decisions=decided(1, "[red]no[/red]"))
    assert "[red]no[/red]" in printed(summary)


def test_notes_come_first(plan: Plan) -> None:
    text = printed(run(plan).summary, notes=("hedges are not simulated",))
    assert text.startswith("note: hedges are not simulated\nsetpoint: ")


def test_only_a_terminal_gets_colours(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    summary = run(plan).summary
    assert "\x1b[" not in printed(summary)
    assert "\x1b[1m" in printed(summary, Terminal())


def test_nothing_served_is_told_too(tmp_path: Path) -> None:
    text = printed(run(plan_of(tmp_path, [])).summary)
    assert text.startswith("setpoint: 0 of 0 requests good in 0:00\nserved nobody; 0 USD;")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0243, "24.3 ms"), (1.44, "1.44 s"), (61.103, "61.1 s")]
)
def test_times_are_short(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text
