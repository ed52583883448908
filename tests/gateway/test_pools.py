"""Slots of a pool: who gets one, where, and what happens when a backend goes away."""

import asyncio
from collections.abc import Callable

import pytest

from adapters.dialect import EndpointState
from contracts.errors import NobodyListens, NoReadyBackend, QueueFull, QueueTimeout
from gateway.pools import SLOTS_UNKNOWN, Pool
from tests.fakes.scripted import ScriptedTransport, answer

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-2", "RUN-5")]


def idle() -> ScriptedTransport:
    return ScriptedTransport(answer())


async def test_in_flight_is_capped_at_the_backends_slots(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=2)
    entries = [pool.enter(0) for _ in range(3)]
    assert [entry.slot.done() for entry in entries] == [True, True, False]
    entries[0].slot.result().release()
    assert (await entries[2].slot).endpoint.index == 0


async def test_an_operators_limit_never_exceeds_told_slots(make_pool: MakePool) -> None:
    assert make_pool("a", idle(), slots=2, max_inflight=8).limit == 2
    assert make_pool("b", idle(), slots=8, max_inflight=2).limit == 2
    assert make_pool("c", idle(), max_inflight=200).limit == 200
    assert make_pool("d", idle(), idle()).limit == 2 * SLOTS_UNKNOWN


async def test_work_goes_to_the_least_loaded_ready_endpoint(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle(), idle(), slots=2)
    pool.learn(pool.endpoints[1], EndpointState(live=True, ready=False, why="loading"))
    places = [(await pool.enter(0).slot).endpoint.index for _ in range(4)]
    assert places == [0, 2, 0, 2]


async def test_nothing_is_queued_for_a_pool_without_a_ready_endpoint(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), ready=False)
    with pytest.raises(NoReadyBackend) as caught:
        pool.enter(0)
    assert caught.value.status == 503
    assert caught.value.retry_after_s is not None
    assert "endpoint 1" in caught.value.message


async def test_a_dead_backend_is_a_502_and_one_that_loads_a_503(make_pool: MakePool) -> None:
    pool = make_pool("local", idle())
    pool.lost(pool.endpoints[0])
    with pytest.raises(NobodyListens) as caught:
        pool.enter(0)
    assert caught.value.status == 502
    pool.learn(pool.endpoints[0], EndpointState(live=True, why="it is loading its model"))
    with pytest.raises(NoReadyBackend) as loading:
        pool.enter(0)
    assert loading.value.status == 503


async def test_who_waits_is_served_when_a_backend_comes_back(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    held = await pool.enter(0).slot
    waiting = pool.enter(0)
    pool.learn(pool.endpoints[0], EndpointState(why="gone"))
    held.release()
    await asyncio.sleep(1)
    assert not waiting.slot.done()
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", slots=1))
    assert (await waiting.slot).waited_s == pytest.approx(1.0)


async def test_nobody_is_lost_when_the_last_endpoint_goes_with_work_waiting(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), max_inflight=1, queue_timeout_s=5)
    held = await pool.enter(0).slot
    waiting = [pool.enter(0) for _ in range(3)]
    pool.lost(pool.endpoints[0])
    held.release()
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok"))
    for entry in waiting:
        (await entry.slot).release()
    assert pool.signals().inflight == 0
    assert pool.signals().queued == 0


async def test_a_queue_that_is_full_or_slow_says_so(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1, max_waiting=1, queue_timeout_s=5)
    await pool.enter(0).slot
    waiting, refused = pool.enter(0), pool.enter(0)
    with pytest.raises(QueueFull):
        await refused.slot
    with pytest.raises(QueueTimeout):
        await waiting.slot
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)


async def test_leaving_frees_a_place_in_every_state(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    admitted, waiting, last = (pool.enter(0) for _ in range(3))
    waiting.leave()
    admitted.leave()
    await last.slot
    assert pool.signals().inflight == 1
    assert pool.signals().queued == 0
    last.leave()
    assert pool.signals().inflight == 0
    assert pool.endpoints[0].inflight == 0


async def test_a_slot_is_released_once(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=2)
    first, _second = await pool.enter(0).slot, await pool.enter(0).slot
    first.release()
    first.release()
    assert pool.signals().inflight == 1
    assert pool.endpoints[0].inflight == 1
