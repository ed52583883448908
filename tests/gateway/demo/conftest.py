"""Requests, decisions and runs of a demo that never ran: values to measure, judge and draw."""

from collections.abc import Callable, Iterable

import pytest

from contracts.control import HeldAction, IntentStatus, LoggedDecision
from gateway.demo.deployment import BIG, SMALL
from gateway.demo.exchange import Exchange
from gateway.demo.record import Record, RunName
from gateway.demo.scenario import Arrival, Phase, Scenario
from gateway.demo.verdict import Verdict, judge
from gateway.demo.watcher import Heard, Sight

TOKENS = 51


def answered(
    at_s: float, *, ttft_s: float = 0.2, tpot_s: float = 0.02, model: str = BIG.name
) -> Exchange:
    first_s = at_s + ttft_s
    return Exchange(
        arrival=Arrival(at_s=at_s, prompt_tokens=100, output_tokens=TOKENS),
        sent_s=at_s + 0.001,
        first_s=first_s,
        last_s=first_s + tpot_s * (TOKENS - 1),
        model=model,
        prompt_tokens=100,
        output_tokens=TOKENS,
        fate="answered",
    )


def refused(at_s: float) -> Exchange:
    arrival = Arrival(at_s=at_s, prompt_tokens=100, output_tokens=TOKENS)
    return Exchange(arrival=arrival, sent_s=at_s, fate="refused", why="deadline_unreachable")


def decision(seq: int, kind: str, words: str, **more: object) -> LoggedDecision:
    fields = {"rung": "switch_model assistant-small", "action": 1, **more}
    return LoggedDecision(
        seq=seq, at_s=0.0, kind=kind, intent="interactive", words=words, time="", **fields
    )  # type: ignore[arg-type]  # the tests spell only what they mean


def sight(at_s: float, *, rungs: int = 0, waiting: int = 0, dry_run: bool = False) -> Sight:
    held = HeldAction(id=1, rung="shed", words="shed", held_s=1.0, dry_run=dry_run)
    status = IntentStatus(
        intent="interactive",
        standing="met",
        standing_s=1.0,
        objectives=(),
        rung=rungs,
        ladder=("order", "shed"),
        actions=(held,) * rungs,
        requests_per_s=1.0,
        refused_per_s=0.0,
        shed_per_s=0.0,
        inflight=3,
        waiting=waiting,
    )
    return Sight(at_s, status)


def record(run: RunName, exchanges: Iterable[Exchange], *heard: Heard) -> Record:
    return Record(
        run=run,
        exchanges=tuple(exchanges),
        sights=tuple(
            sight(float(at_s), rungs=int(run == "loop on" and at_s > 13)) for at_s in range(61)
        ),
        heard=heard,
        ended_s=61.0,
    )


@pytest.fixture
def plan() -> Scenario:
    """20 s each; the spike from 20 s to 40 s, and its first 8 s are not judged."""
    return Scenario(
        calm=Phase(name="calm", seconds=20.0, rate_rps=1.0),
        spike=Phase(name="spike", seconds=20.0, rate_rps=3.0),
        after=Phase(name="calm again", seconds=20.0, rate_rps=1.0),
    )


@pytest.fixture
def off() -> Record:
    """Late from the spike on."""
    exchanges = [answered(float(s), ttft_s=0.2 if s < 20 else 3.0) for s in range(60)]
    words = "would have switched model (dry run): ttft_p95 3 s > 800 ms"
    heard = Heard(24.0, decision(1, "climb", words, dry_run=True))
    return record("loop off", exchanges, heard)


@pytest.fixture
def on() -> Record:
    """Refused for three seconds, then served by the small model."""
    exchanges = [answered(float(s)) for s in range(20)]
    exchanges += [refused(float(s)) for s in range(20, 23)]
    exchanges += [answered(float(s), ttft_s=0.1, model=SMALL.name) for s in range(23, 60)]
    return record(
        "loop on",
        exchanges,
        Heard(23.0, decision(1, "climb", "switched model: ttft_p95 3 s > 800 ms")),
        Heard(25.5, decision(2, "verdict", "confirmed: 0 of 25 late", verdict="confirmed")),
    )


@pytest.fixture
def verdict(plan: Scenario, off: Record, on: Record) -> Verdict:
    return judge(plan, off, on)


@pytest.fixture
def make_answered() -> Callable[..., Exchange]:
    return answered


@pytest.fixture
def make_refused() -> Callable[[float], Exchange]:
    return refused


@pytest.fixture
def make_decision() -> Callable[..., LoggedDecision]:
    return decision


@pytest.fixture
def make_sight() -> Callable[..., Sight]:
    return sight
