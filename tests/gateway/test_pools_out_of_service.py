"""A pool that is drained: who may go on, who is sent elsewhere, who waits, and how it comes back."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import EndpointState
from adapters.registry import dialect_for
from contracts.errors import NobodyListens, PoolDraining
from contracts.inference import Timeouts
from gateway.entry import Entry
from gateway.pools import DRAINED_RETRY_S, Pool
from gateway.settings import PoolOptions
from gateway.slot import Slot
from tests.fakes.scripted import ScriptedTransport, answer

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-2", "ENG-3")]
READY = EndpointState(live=True, ready=True, why="ok", slots=2)


def idle() -> ScriptedTransport:
    return ScriptedTransport(answer())


async def test_what_runs_goes_on_and_the_last_one_empties_the_pool(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=2)
    first, second = await pool.enter().slot, await pool.enter().slot
    pool.drain()
    assert (pool.state, pool.queue.inflight) == ("draining", 2)
    first.release()
    assert pool.state == "draining"
    second.release()
    assert pool.state == "drained"


async def test_an_empty_pool_is_drained_at_once(make_pool: MakePool) -> None:
    pool = make_pool("local", idle())
    pool.drain()
    assert pool.state == "drained"
    await pool.emptied()


async def test_newcomers_are_told_when_to_come_back(make_pool: MakePool) -> None:
    pool = make_pool("local", idle())
    pool.drain()
    with pytest.raises(PoolDraining) as caught:
        pool.enter()
    assert (caught.value.status, caught.value.retriable) == (503, True)
    assert caught.value.retry_after_s == DRAINED_RETRY_S
    assert "local" in caught.value.message


async def test_a_client_that_waits_is_sent_elsewhere_and_a_task_waits_on(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), slots=1)
    held = await pool.enter().slot
    client, task = pool.enter(), pool.enter(patient=True, timeout_s=100.0)
    pool.drain()
    with pytest.raises(PoolDraining):
        await client.slot
    held.release()
    await asyncio.sleep(50)
    assert not task.slot.done()
    assert (pool.state, pool.signals().queued, pool.signals().queued_tasks) == ("drained", 0, 1)
    pool.restore()
    assert not task.slot.done(), "nothing is known of the endpoint yet"
    pool.learn(pool.endpoints[0], READY)
    assert (await task.slot).waited_s == pytest.approx(50.0)


async def test_a_task_waits_for_no_longer_than_its_time(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    held = await pool.enter().slot
    task = pool.enter(patient=True, timeout_s=3.0)
    pool.drain()
    held.release()
    with pytest.raises(Exception, match="could not start in time"):
        await task.slot
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)


async def test_no_probe_puts_it_back(make_pool: MakePool) -> None:
    pool = make_pool("local", idle())
    pool.drain()
    pool.learn(pool.endpoints[0], EndpointState(why="gone"))
    pool.learn(pool.endpoints[0], READY)
    assert (pool.state, pool.ready, pool.limit) == ("drained", [], 0)
    with pytest.raises(PoolDraining):
        pool.enter()


async def test_it_is_said_once_however_often_it_is_asked_for(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = make_pool("local", idle(), slots=1)
    held = await pool.enter().slot
    task = pool.enter(patient=True)
    pool.drain()
    pool.drain()
    held.release()
    task.leave()
    pool.drain()
    pool.learn(pool.endpoints[0], READY)
    pool.restore()
    pool.restore()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["pool_draining", "pool_drained", "pool_restored"]


async def test_who_waits_for_the_end_is_let_go_when_it_comes_back_first(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), slots=2)
    held = await pool.enter().slot
    pool.drain()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(pool.emptied())
        await asyncio.sleep(1)
        pool.restore()
    held.release()
    assert pool.state == "no_ready_endpoint", "it has been neither probed nor drained again"


async def test_a_pool_that_comes_back_believes_nothing_of_before(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=2)
    heard: list[int] = []
    pool.on_bounds = lambda told: heard.append(told.limit)
    pool.drain()
    pool.restore()
    assert pool.state == "no_ready_endpoint"
    with pytest.raises(Exception, match="not probed yet") as caught:
        pool.enter()
    assert not isinstance(caught.value, NobodyListens), "it was live a moment ago"
    pool.learn(pool.endpoints[0], READY)
    assert (pool.state, heard) == ("serving", [0, 0, 2])


async def test_a_pool_in_service_loses_nobody_when_it_is_restored(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    await pool.enter().slot
    waiting = pool.enter()
    pool.restore()
    assert pool.state == "serving"
    assert not waiting.slot.done()


@pytest.mark.req("ADM-7")
async def test_no_session_has_a_home_in_a_pool_that_was_restored(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle(), slots=4)
    held = await pool.enter().slot
    assert (await pool.enter(session=("me", "chat")).slot).endpoint.index == 1
    held.release()
    assert (await pool.enter(session=("me", "chat")).slot).endpoint.index == 1, "where it was"
    pool.restore()
    assert (await pool.enter(session=("me", "chat")).slot).endpoint.index == 0


# -- whatever happens, in whatever order ---------------------------------------------------

Step = tuple[str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(("enter", "task", "release", "leave", "up", "down", "drain", "restore")),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(steps=steps)
def test_work_goes_only_to_ready_endpoints_the_least_loaded_first(steps: list[Step]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[Step]) -> None:
    """Each admission is checked at the moment it happens, against what an onlooker counts itself."""
    options = PoolOptions(
        max_inflight=None,
        max_waiting=4,
        max_tasks=4,
        queue_timeout_s=1e6,
        timeouts=Timeouts(),
        retries=0,
        probe_interval_s=1.0,
    )
    pool = Pool(
        "p",
        engine="openai",
        dialect=dialect_for("openai"),
        transports=[idle() for _ in range(3)],
        options=options,
        clock=lambda: 0.0,
    )
    ready, load, out = [False] * 3, [0] * 3, False
    entries: list[Entry] = []
    slots: list[Slot] = []

    def admitted(slot: Slot) -> None:
        index = slot.endpoint.index
        assert not out
        assert ready[index]
        able = [i for i in range(3) if ready[i]]
        assert index == min(able, key=lambda i: (load[i], i))
        load[index] += 1
        assert load[index] <= 2

    real = Pool._admit

    def watched(self: Pool, *asked: Any) -> Slot:
        slot = real(self, *asked)
        admitted(slot)
        slots.append(slot)
        return slot

    pool._admit = watched.__get__(pool)  # type: ignore[method-assign]
    for what, index in steps:
        match what:
            case "enter" | "task":
                try:
                    entries.append(pool.enter(patient=what == "task"))
                except PoolDraining:
                    assert out
                except Exception:
                    assert not any(ready)
            case "release" if slots:
                slot = slots.pop(index % len(slots))
                load[slot.endpoint.index] -= 1
                slot.release()
            case "leave" if entries:
                entry = entries.pop(index % len(entries))
                if not entry.slot.done():
                    entry.leave()
            case "up" | "down":
                ready[index] = what == "up"
                state = READY if ready[index] else EndpointState(why="gone")
                pool.learn(pool.endpoints[index], state)
            case "drain":
                out = True
                pool.drain()
                assert pool.signals().queued == 0
            case "restore":
                if out:
                    ready = [False] * 3
                out = False
                pool.restore()
        assert (pool.state in ("draining", "drained")) == out
        assert [e.index for e in pool.ready] == [i for i in range(3) if ready[i] and not out]
        assert [e.inflight for e in pool.endpoints] == load
        if out:
            assert (pool.state == "drained") == (sum(load) == 0)
    for entry in entries:
        if entry.slot.done() and not entry.slot.cancelled():
            entry.slot.exception()
