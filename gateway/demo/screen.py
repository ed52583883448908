"""What a person sees while the demo runs: a live panel on a terminal, a few plain lines elsewhere.

Nothing is measured here but what is being shown; the result is printed by `outcome`.
"""

from collections.abc import Sequence
from typing import Protocol, TextIO

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.demo.exchange import Exchange
from gateway.demo.measures import p95
from gateway.demo.record import RunName
from gateway.demo.scenario import Promise, Scenario
from gateway.demo.watcher import Heard, Sight
from gateway.simulation.words import clock

NOW_S = 5.0
"""What "now" means for rates and percentiles."""
PLAIN_COLUMNS = 160
KEPT_DECISIONS, SHOWN_DECISIONS = 20, 3
"""Of a moment, and of those on the panel."""
_STANDINGS = {"met": "green", "at_risk": "yellow", "breached": "bold red", "unknown": "dim"}


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a run."""

    run: RunName
    at_s: float
    span_s: float
    phase: str
    answered: int
    refused: int
    open: int
    rate_rps: float
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    sight: Sight | None
    heard: tuple[Heard, ...]
    """The newest decisions, oldest first."""


def glance(
    plan: Scenario,
    run: RunName,
    now_s: float,
    exchanges: Sequence[Exchange],
    sights: Sequence[Sight],
    heard: Sequence[Heard],
) -> Glance:
    """What is to be seen now. Whoever still waits for its first text has waited so long at least."""
    lately = [x for x in exchanges if x.arrival.at_s >= now_s - NOW_S]
    waits = [
        now_s - x.arrival.at_s if x.ttft_s is None else x.ttft_s
        for x in exchanges
        if x.fate == "open" or (x.arrival.at_s >= now_s - NOW_S and x.ttft_s is not None)
    ]
    paces = [x.tpot_s for x in exchanges if x.fate == "open" and x.tpot_s is not None]
    phase = plan.phase_at(now_s)
    return Glance(
        run=run,
        at_s=now_s,
        span_s=plan.span_s,
        phase="the last answers" if phase is None else phase.name,
        answered=sum(x.fate == "answered" for x in exchanges),
        refused=sum(x.fate == "refused" for x in exchanges),
        open=sum(x.fate == "open" for x in exchanges),
        rate_rps=len(lately) / max(min(now_s, NOW_S), 1.0),
        ttft_p95_s=p95(waits),
        tpot_p95_s=p95(paces),
        sight=sights[-1] if sights else None,
        heard=tuple(heard[-KEPT_DECISIONS:]),
    )


class Screen(Protocol):
    """Close it when done."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def show(self, seen: Glance) -> None:
        """How it stands now; replaces what was shown before."""

    def close(self) -> None: ...


def make_screen(out: TextIO, promise: Promise) -> Screen:
    """A live one for a terminal."""
    return LiveScreen(out, promise) if out.isatty() else PlainScreen(out)


class PlainScreen:
    """A line when a phase begins, and one for each decision."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._phase: tuple[str, str] | None = None
        self._told: tuple[str, int] = ("", 0)

    def say(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()

    def show(self, seen: Glance) -> None:
        if self._phase != (seen.run, seen.phase):
            self._phase = seen.run, seen.phase
            self.say(f"{clock(seen.at_s):>6}  {seen.run}: {seen.phase}")
        run, told = self._told
        told = told if run == seen.run else 0
        for heard in seen.heard:
            if heard.decision.seq > told:
                told = heard.decision.seq
                self.say(f"{clock(heard.at_s):>6}  {seen.run}: {heard.decision.words}")
        self._told = seen.run, told

    def close(self) -> None:
        """Nothing is held."""


class LiveScreen:
    """A panel that is drawn anew a few times a second."""

    def __init__(self, out: TextIO, promise: Promise) -> None:
        self._promise = promise
        self._console = Console(file=out, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def show(self, seen: Glance) -> None:
        self._live.update(panel(seen, self._promise), refresh=True)

    def close(self) -> None:
        self._live.stop()


def panel(seen: Glance, promise: Promise) -> Panel:
    """The moment as a panel."""
    numbers = Table.grid(padding=(0, 3))
    numbers.add_row(
        f"{seen.rate_rps:.1f} requests/s",
        f"{seen.open} open",
        f"{seen.answered} answered",
        f"{seen.refused} refused",
    )
    numbers.add_row(
        _against("TTFT p95", seen.ttft_p95_s, promise.ttft_p95_s),
        _against("TPOT p95", seen.tpot_p95_s, promise.tpot_p95_s),
        *_standing(seen.sight),
    )
    words = [
        Text(f"{clock(heard.at_s):>5}  {heard.decision.words}", style="cyan")
        for heard in seen.heard[-SHOWN_DECISIONS:]
    ]
    title = f"{seen.run}: {seen.phase}, {clock(seen.at_s)} of {clock(seen.span_s)}"
    bar = Table.grid(expand=True)  # a bar alone does not end its line
    bar.add_row(ProgressBar(total=seen.span_s, completed=min(seen.at_s, seen.span_s)))
    return Panel(Group(bar, numbers, *words), title=title, title_align="left")


def _against(name: str, value_s: float | None, promised_s: float) -> Text:
    if value_s is None:
        return Text(f"{name} -", style="dim")
    return Text(
        f"{name} {value_s * 1000:.0f} ms", style="bold red" if value_s > promised_s else "green"
    )


def _standing(sight: Sight | None) -> tuple[Text, Text]:
    if sight is None:
        return Text(""), Text("")
    status = sight.status
    return (
        Text(status.standing.replace("_", " "), style=_STANDINGS[status.standing]),
        Text(f"rung {sight.rung} of {len(status.ladder)}"),
    )
