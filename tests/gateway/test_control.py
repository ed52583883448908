"""The loop's task: what a tick carries out and tells, who hears of it, and what happens when it breaks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from contracts.control import LoggedDecision, LoopDecision
from contracts.errors import ShedByIntent, TooManyConnections
from contracts.problems import ProblemsFound
from gateway.background import supervised
from gateway.control import LISTENER_BACKLOG, MAX_LISTENERS, Decisions, when
from policies.ladder import LEASE_S
from policies.loop import RECENT_DECISIONS, TICK_S
from tests.fakes.virtual_gateway import CONFIG, VirtualGateway, breach

pytestmark = [pytest.mark.looptime, pytest.mark.req("INT-3")]
Start = Callable[..., Awaitable[VirtualGateway]]
PROMISES = """
intents:
  - name: interactive
    match: {header: {x-setpoint-intent: interactive}, default: true}
    objectives: {ttft_p95: 500ms, tpot_p95: 50ms}
    priority: 10
    late: serve
    ladder: [LADDER]
  - {name: batch, match: {header: {x-setpoint-intent: batch}}, priority: -10}
"""


def promises(ladder: str) -> str:
    return PROMISES.replace("LADDER", ladder)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    made: list[VirtualGateway] = []

    async def begin(policies: str = promises("shed"), *, config: str = CONFIG) -> VirtualGateway:
        made.append(VirtualGateway(tmp_path, policies, config))
        await made[-1].begin()
        return made[-1]

    yield begin
    for virtual in made:
        await virtual.aclose()


async def holding(start: Start, ladder: str) -> VirtualGateway:
    """A gateway that has just taken the one rung of its ladder."""
    virtual = await start(promises(ladder))
    await virtual.ask("batch")
    breach(virtual.gateway, "interactive")
    await virtual.tick(4 * TICK_S)
    assert [d.kind for d in virtual.control.decisions.recent()] == ["climb"]
    return virtual


def kinds(virtual: VirtualGateway) -> list[str]:
    return [decision.kind for decision in virtual.control.decisions.recent()]


# -- what a tick carries out -------------------------------------------------------------


async def test_a_raised_limit_admits_those_who_wait(start: Start) -> None:
    """Streams that are well inside their objective: the limit is doubled long before one of them ends."""
    virtual = await start()
    lane = virtual.gateway.pools["sim"].queue.lane("big")
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(virtual.ask("interactive", max_tokens=500))
        await asyncio.sleep(0.2)
        began = lane.inflight
        assert lane.waiting == 100 - began > 0
        await virtual.tick(3.0)
        assert lane.inflight >= 2 * began
        assert lane.waiting == 100 - lane.inflight


async def test_waiters_are_let_in_by_the_very_tick_that_made_room(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await start()
    pool = virtual.gateway.pools["sim"]
    pool.queue.lane("big").limit = 1.0

    def raises_it(now_s: float) -> list[LoopDecision]:
        pool.queue.lane("big").limit = 3.0
        return []

    monkeypatch.setattr(virtual.gateway.loop, "tick", raises_it)
    entries = [pool.enter(lane="big") for _ in range(4)]
    assert [entry.slot.done() for entry in entries] == [True, False, False, False]
    virtual.control.tick()
    assert [entry.slot.done() for entry in entries] == [True, True, True, False]


@pytest.mark.req("INT-5")
async def test_classes_below_one_that_is_late_are_held_back(start: Start) -> None:
    virtual = await holding(start, "hold_back")
    lane = virtual.gateway.pools["sim"].queue.lane("big")
    assert lane.places(-10) < lane.places(10)
    async with asyncio.TaskGroup() as group:
        for _ in range(40):
            group.create_task(virtual.ask("batch", max_tokens=30))
        await asyncio.sleep(0.2)
        assert lane.inflight == lane.places(-10), "what is kept free stays free"
        assert (await virtual.ask("interactive")).progress.queue_s == 0.0


@pytest.mark.req("INT-5")
async def test_under_overload_what_may_be_shed_is_shed_and_nobody_else(start: Start) -> None:
    """Twice what the pool can do, for ten seconds."""
    virtual = await start(config=CONFIG.replace("engine: llmd", "engine: llmd, max_inflight: 4"))
    shed = {"interactive": 0, "batch": 0}

    async def one(intent: str) -> None:
        error = (await virtual.ask(intent, max_tokens=50)).error
        shed[intent] += isinstance(error, ShedByIntent)

    async with asyncio.TaskGroup() as group:
        for _ in range(40):
            for intent in ("interactive", "interactive", "batch"):
                group.create_task(one(intent))
            await virtual.tick(TICK_S)
    assert shed["interactive"] == 0
    assert 0 < shed["batch"] < 40
    assert kinds(virtual)[0] == "climb"


# -- what a tick tells -------------------------------------------------------------------


@pytest.mark.req("INT-7")
async def test_a_decision_is_told_in_words_with_the_numbers_behind_it(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    virtual = await holding(start, "shed")
    (told,) = virtual.control.decisions.recent()
    assert told.words.startswith("shed sheddable traffic for interactive: ttft_p95 ")
    assert "40 of 40 late or refused" in told.words
    assert (told.seq, told.rung, told.pool, told.objective) == (1, "shed", "sim", "ttft_p95")
    assert (told.samples, told.bad) == (40, 40)
    assert told.time.endswith("Z")
    (logged,) = [record.fields for record in caplog.records if record.msg == "decision"]
    assert (logged["seq"], logged["words"], logged["kind"]) == (1, told.words, "climb")
    assert "at_s" not in logged, "a moment on a clock of its own says nothing to who reads a log"


async def test_what_the_shell_notes_is_numbered_and_told_with_the_next_tick(start: Start) -> None:
    virtual = await start()
    noted = virtual.gateway.loop.note(
        LoopDecision(seq=0, at_s=1.0, kind="honour", intent="interactive", words="it is not")
    )
    assert noted.seq == 1
    assert virtual.control.decisions.recent() == []
    virtual.control.tick()
    virtual.control.tick()
    (told,) = virtual.control.decisions.recent()
    assert (told.seq, told.words) == (1, "it is not")


async def test_a_moment_on_the_gateways_clock_is_a_date(start: Start) -> None:
    virtual = await start()
    await asyncio.sleep(100)
    gateway = virtual.gateway
    now, earlier = when(gateway, 100.0), when(gateway, 40.0)
    assert earlier < now
    assert len(now) == len("2026-01-01T00:00:00.000Z")


# -- when it breaks ----------------------------------------------------------------------


async def test_it_ticks_four_times_a_second(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    virtual = await start()
    at_s: list[float] = []

    def notes(now_s: float) -> list[LoopDecision]:
        at_s.append(now_s)
        return []

    monkeypatch.setattr(virtual.gateway.loop, "tick", notes)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.1):
            await virtual.control.run()
    assert at_s == pytest.approx([TICK_S * n for n in range(1, 5)])


async def test_a_tick_that_breaks_is_logged_and_the_next_ones_go_on_and_traffic_flows(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    virtual = await start()
    loop = virtual.gateway.loop
    ticks: list[float] = []
    tick = loop.tick

    def breaks_once(now_s: float) -> list[LoopDecision]:
        ticks.append(now_s)
        if len(ticks) == 2:
            raise RuntimeError("out of luck")
        return tick(now_s)

    monkeypatch.setattr(loop, "tick", breaks_once)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervised("control", virtual.control.run))
        await asyncio.sleep(1.0)  # broken by now, and not yet started again
        assert len(ticks) == 2
        assert (await virtual.ask("interactive")).error is None
        await asyncio.sleep(2.0)
        assert len(ticks) > 4
        task.cancel()
    (failed,) = [record for record in caplog.records if record.exc_info]
    assert (failed.msg, failed.fields["task"]) == ("background_task_failed", "control")


async def broken(virtual: VirtualGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop ticks no more."""

    def breaks(now_s: float) -> list[LoopDecision]:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(virtual.gateway.loop, "tick", breaks)
    with pytest.raises(RuntimeError):
        virtual.control.tick()


async def sheds(virtual: VirtualGateway) -> bool:
    """Whether any of twenty batch requests, side by side, is turned away."""
    asked = await asyncio.gather(*(virtual.ask("batch") for _ in range(20)))
    return any(isinstance(one.error, ShedByIntent) for one in asked)


async def test_what_a_dead_loop_held_for_requests_lapses(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await holding(start, "shed")
    await broken(virtual, monkeypatch)
    assert await sheds(virtual)
    await asyncio.sleep(LEASE_S)
    assert not await sheds(virtual)
    assert (await virtual.ask("interactive")).error is None


async def test_a_lapse_is_told_once_the_loop_ticks_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await holding(start, "shed")
    with monkeypatch.context() as patch:
        await broken(virtual, patch)
        await asyncio.sleep(LEASE_S)
        await virtual.ask("batch")
        assert kinds(virtual) == ["climb"]
    virtual.control.tick()
    assert kinds(virtual) == ["climb", "lapse"]
    assert "nobody renewed it" in virtual.control.decisions.recent()[-1].words


async def test_what_a_dead_loop_held_for_pools_lapses(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await holding(start, "hold_back")
    lane = virtual.gateway.pools["sim"].queue.lane("big")
    await broken(virtual, monkeypatch)
    await virtual.ask("batch")
    assert lane.places(-10) < lane.places(10)
    await asyncio.sleep(LEASE_S)
    await virtual.ask("batch")
    assert lane.places(-10) == lane.places(10)


# -- policies that change meanwhile ------------------------------------------------------


async def test_new_policies_take_nothing_from_an_intent_that_is_promised_the_same(
    start: Start,
) -> None:
    virtual = await holding(start, "shed")
    gateway = virtual.gateway
    before = gateway.loop.statuses(virtual.now())[0]
    rule = "rules: [{name: short, then: {max_tokens: 5}}]\n"
    virtual.policies_file.write_text(promises("shed") + rule)
    await gateway.reload_policies()
    after = gateway.loop.statuses(virtual.now())[0]
    assert [action.id for action in after.actions] == [action.id for action in before.actions]
    assert after.objectives == before.objectives
    virtual.control.tick()
    assert kinds(virtual) == ["climb"]
    assert await sheds(virtual)


async def test_an_intent_with_another_ladder_begins_at_its_foot(start: Start) -> None:
    virtual = await holding(start, "shed")
    virtual.policies_file.write_text(promises("order, shed"))
    await virtual.gateway.reload_policies()
    assert virtual.gateway.loop.statuses(virtual.now())[0].actions == ()
    assert not await sheds(virtual)


async def test_limits_that_were_learned_survive_new_policies(start: Start) -> None:
    virtual = await start()
    lane = virtual.gateway.pools["sim"].queue.lane("big")
    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(virtual.ask("interactive", max_tokens=300))
        await virtual.tick(3.0)
        learned = lane.limit
        virtual.policies_file.write_text(promises("order"))
        await virtual.gateway.reload_policies()
        virtual.control.tick()
        assert lane.limit >= learned > 16


async def test_a_broken_edit_changes_nothing_that_is_held(start: Start) -> None:
    virtual = await holding(start, "shed")
    virtual.policies_file.write_text(promises("shred"))
    with pytest.raises(ProblemsFound):
        await virtual.gateway.reload_policies()
    virtual.control.tick()
    assert virtual.gateway.loop.statuses(virtual.now())[0].rung == 1
    assert kinds(virtual) == ["climb"]
    assert await sheds(virtual)


# -- who listens -------------------------------------------------------------------------


def decision(seq: int) -> LoggedDecision:
    return LoggedDecision(
        seq=seq, at_s=float(seq), kind="climb", intent="i", words=f"no. {seq}", time="t"
    )


def told(*numbers: int) -> Decisions:
    decisions = Decisions()
    for number in numbers:
        decisions.publish(decision(number))
    return decisions


async def heard(listener: AsyncIterator[LoggedDecision]) -> list[int]:
    """The numbers of all that came so far, until nothing comes for a while or it ends."""
    numbers: list[int] = []
    try:
        async with asyncio.timeout(1):
            async for one in listener:
                numbers.append(one.seq)  # noqa: PERF401 (what came before the end counts)
    except TimeoutError:
        pass
    return numbers


def test_the_newest_decisions_are_kept_and_told_by_number() -> None:
    decisions = told(*range(1, RECENT_DECISIONS + 11))
    assert [d.seq for d in decisions.recent()] == list(range(11, RECENT_DECISIONS + 11))
    assert [d.seq for d in decisions.recent(after=RECENT_DECISIONS + 8)] == [1009, 1010]
    assert decisions.recent(after=RECENT_DECISIONS + 10) == []


def test_a_number_of_an_earlier_start_is_before_everything() -> None:
    assert [d.seq for d in told(1, 2).recent(after=500)] == [1, 2]
    assert told().recent(after=500) == []


async def test_a_listener_gets_what_it_has_missed_and_then_each_as_it_comes() -> None:
    decisions = told(1, 2, 3)
    with decisions.listen(1) as listener:
        decisions.publish(decision(4))
        assert await heard(listener) == [2, 3, 4]


async def test_a_listener_that_names_no_number_gets_what_comes_from_then_on() -> None:
    decisions = told(1, 2, 3)
    with decisions.listen(None) as listener:
        decisions.publish(decision(4))
        assert await heard(listener) == [4]


async def test_a_slow_listener_loses_the_oldest_and_holds_nobody_up() -> None:
    decisions = told()
    with decisions.listen(None) as slow, decisions.listen(None) as quick:
        for number in range(1, LISTENER_BACKLOG + 6):
            decisions.publish(decision(number))
            if number == LISTENER_BACKLOG:
                assert len(await heard(quick)) == LISTENER_BACKLOG
        assert (await heard(slow)) == list(range(6, LISTENER_BACKLOG + 6))


async def test_listeners_are_counted_bounded_and_forgotten_when_they_leave() -> None:
    decisions = told()
    held = [decisions.listen(None) for _ in range(MAX_LISTENERS)]
    for one in held:
        one.__enter__()
    with pytest.raises(TooManyConnections) as caught, decisions.listen(None):
        pass
    assert caught.value.retry_after_s is not None
    assert decisions.listeners == MAX_LISTENERS
    held[0].__exit__(None, None, None)
    with decisions.listen(None):
        assert decisions.listeners == MAX_LISTENERS
    for one in held[1:]:
        one.__exit__(None, None, None)
    assert decisions.listeners == 0


@pytest.mark.parametrize("backlog", [0, 3, LISTENER_BACKLOG])
async def test_closing_ends_every_listener_however_far_behind_it_is(backlog: int) -> None:
    decisions = told()
    with decisions.listen(None) as listener:
        for number in range(1, backlog + 1):
            decisions.publish(decision(number))
        decisions.close()
        decisions.publish(decision(999))
        came = await heard(listener)
        assert came == list(range(1, backlog + 1))[-(LISTENER_BACKLOG - 1) :]
        with pytest.raises(StopAsyncIteration):
            await anext(listener)


async def test_who_listens_after_the_close_gets_what_it_has_missed_and_the_end() -> None:
    decisions = told(1, 2)
    decisions.close()
    with decisions.listen(0) as listener:
        assert [one.seq async for one in listener] == [1, 2]
