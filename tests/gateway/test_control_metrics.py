"""The loop in `/metrics`: promises, limits, decisions and verdicts, as they stand at the scrape."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.control import LoopDecision
from policies.honour import Honour, HonourState
from policies.loop import TICK_S
from tests.fakes.virtual_gateway import VirtualGateway, breach

pytestmark = [pytest.mark.looptime, pytest.mark.req("OPS-2")]
POLICIES = """
intents:
  - name: interactive
    match: {header: {x-setpoint-intent: interactive}, default: true}
    objectives: {ttft_p95: 500ms, error_rate: 1%}
    priority: 10
    ladder: [shed]
  - {name: batch, match: {header: {x-setpoint-intent: batch}}, priority: -10}
"""


Start = Callable[[], Awaitable[VirtualGateway]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Begins within the test: a fixture still has real time."""
    made: list[VirtualGateway] = []

    async def begin() -> VirtualGateway:
        made.append(VirtualGateway(tmp_path, POLICIES))
        await made[-1].begin()
        return made[-1]

    yield begin
    for virtual in made:
        await virtual.aclose()


def samples(virtual: VirtualGateway, name: str, **labels: str) -> list[float]:
    text = virtual.gateway.metrics.exposition().decode()
    found = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return [s.value for s in found if s.name == name and labels.items() <= s.labels.items()]


async def test_every_promise_is_shown_with_its_standing_and_what_was_measured(start: Start) -> None:
    virtual = await start()
    for _ in range(4):
        await virtual.ask("interactive")
    await virtual.tick(1.0)
    mine = {"intent": "interactive"}
    assert samples(virtual, "setpoint_intent_standing", standing="met", **mine) == [1]
    assert samples(virtual, "setpoint_intent_standing", **mine).count(0) == 3
    assert samples(virtual, "setpoint_intent_standing", standing="unknown", intent="batch") == [1]
    late: dict[str, Any] = {"objective": "ttft_p95", **mine}
    assert samples(virtual, "setpoint_intent_objective_target", **late) == [0.5]
    assert samples(virtual, "setpoint_intent_objective_measured", **late) == pytest.approx(
        [0.1], rel=0.05
    )
    assert samples(virtual, "setpoint_intent_severity", **late) == pytest.approx([0.2], rel=0.05)
    assert samples(virtual, "setpoint_intent_rung", **mine) == [0]


async def test_what_was_not_measured_is_not_shown_as_nought(start: Start) -> None:
    virtual = await start()
    virtual.control.tick()
    assert samples(virtual, "setpoint_intent_objective_measured") == []
    assert samples(virtual, "setpoint_intent_severity") == []
    assert len(samples(virtual, "setpoint_intent_objective_target")) == 2


async def test_a_rung_that_is_taken_is_counted_and_shown(start: Start) -> None:
    virtual = await start()
    await virtual.ask("batch")
    breach(virtual.gateway, "interactive")
    virtual.control.tick()
    mine = {"intent": "interactive"}
    assert samples(virtual, "setpoint_intent_standing", standing="breached", **mine) == [1]
    await virtual.tick(1.0)
    assert samples(virtual, "setpoint_intent_rung", **mine) == [1]
    assert samples(
        virtual, "setpoint_decisions_total", intent="interactive", kind="climb", rung="shed"
    ) == [1]


async def test_a_verdict_is_counted_beside_its_decision(start: Start) -> None:
    """Whatever the loop judges: a rung is named without its argument, which may be any number."""
    virtual = await start()
    for number, verdict in enumerate(("confirmed", "harmful", "confirmed")):
        virtual.gateway.loop.note(
            LoopDecision(
                seq=0,
                at_s=float(number),
                kind="verdict" if verdict == "confirmed" else "rollback",
                intent="interactive",
                words="so it is",
                rung=f"cap_tokens {number}",
                verdict=verdict,
            )
        )
    virtual.control.tick()
    mine = {"intent": "interactive", "rung": "cap_tokens"}
    assert samples(virtual, "setpoint_verdicts_total", verdict="confirmed", **mine) == [2]
    assert samples(virtual, "setpoint_verdicts_total", verdict="harmful", **mine) == [1]
    assert samples(virtual, "setpoint_decisions_total", kind="rollback", **mine) == [1]


async def test_what_is_about_no_intent_and_no_rung_is_counted_as_such(start: Start) -> None:
    virtual = await start()
    said = LoopDecision(seq=0, at_s=0.0, kind="limit", intent="", words="opened", pool="sim")
    virtual.gateway.loop.note(said)
    virtual.control.tick()
    labels = {"intent": "none", "kind": "limit", "rung": "none"}
    assert samples(virtual, "setpoint_decisions_total", **labels) == [1]


async def test_limits_and_what_runs_under_them_are_shown_a_model(start: Start) -> None:
    virtual = await start()
    pool = virtual.gateway.pools["sim"]
    entries = [pool.enter(lane="big") for _ in range(3)]
    pool.queue.lane("big").limit = 2.0
    entries += [pool.enter(lane="big")]
    lane = {"pool": "sim", "model": "big"}
    assert samples(virtual, "setpoint_lane_limit_requests", **lane) == [2]
    assert samples(virtual, "setpoint_lane_inflight_requests", **lane) == [3]
    assert samples(virtual, "setpoint_lane_queued_requests", **lane) == [1]


async def test_each_tick_is_timed(start: Start) -> None:
    virtual = await start()
    await virtual.tick(5 * TICK_S)
    assert samples(virtual, "setpoint_loop_tick_seconds_count") == [5]


async def test_an_intent_that_is_gone_is_shown_no_more(start: Start) -> None:
    virtual = await start()
    virtual.control.tick()
    assert samples(virtual, "setpoint_intent_rung", intent="batch") == [0]
    virtual.policies_file.write_text(POLICIES.partition("  - {name: batch")[0])
    await virtual.gateway.reload_policies()
    for name in ("standing", "rung", "objective_target", "honoured"):
        assert samples(virtual, f"setpoint_intent_{name}", intent="batch") == []


@pytest.mark.req("INT-8")
@pytest.mark.parametrize(
    ("verdict", "shown"), [("honoured", [1]), ("not_honoured", [0]), ("unconfirmed", [])]
)
async def test_what_llmd_does_with_an_intent_is_shown_where_it_is_known(
    start: Start, monkeypatch: pytest.MonkeyPatch, verdict: Any, shown: list[float]
) -> None:
    virtual = await start()
    state = HonourState(verdict=verdict, why="so it seems")
    monkeypatch.setattr(Honour, "state", lambda self, objective: state)
    mine = {"pool": "sim", "intent": "interactive"}
    assert samples(virtual, "setpoint_intent_honoured", **mine) == shown
