"""Slots of a pool: who gets one, where, and what happens when a backend goes away."""

import asyncio
from collections.abc import Callable

import pytest

from adapters.dialect import EndpointState
from contracts.errors import (
    DeadlineUnreachable,
    NobodyListens,
    NoReadyBackend,
    QueueFull,
    QueueTimeout,
)
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


# -- lanes, limits and deadlines -----------------------------------------------------------


@pytest.mark.req("INT-5")
async def test_each_model_of_a_pool_has_a_limit_of_its_own(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), max_inflight=10)
    pool.queue.lane("big").limit = 1.0
    first, waiting = pool.enter(lane="big"), pool.enter(lane="big")
    other = pool.enter(lane="small")
    assert (first.slot.done(), waiting.slot.done(), other.slot.done()) == (True, False, True)


@pytest.mark.req("INT-5")
async def test_a_limit_that_was_raised_counts_from_the_next_wake_on(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), max_inflight=10)
    lane = pool.queue.lane("big")
    lane.limit = 1.0
    entries = [pool.enter(lane="big") for _ in range(4)]
    lane.limit = 3.0
    pool.wake()
    assert [entry.slot.done() for entry in entries] == [True, True, True, False]


async def test_a_limit_that_was_lowered_takes_nobodys_place(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), max_inflight=10)
    held = [await pool.enter(lane="big").slot for _ in range(3)]
    pool.queue.lane("big").limit = 1.0
    waiting = pool.enter(lane="big")
    for slot in held:
        assert not waiting.slot.done()
        slot.release()
    assert waiting.slot.done()


@pytest.mark.req("ADM-2")
async def test_who_waits_past_its_deadline_is_told_at_that_moment(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1, queue_timeout_s=60)
    await pool.enter().slot
    await asyncio.sleep(1)
    patient, hurried = pool.enter(), pool.enter(deadline_s=3.5)
    with pytest.raises(DeadlineUnreachable) as caught:
        await hurried.slot
    assert asyncio.get_running_loop().time() == pytest.approx(3.5)
    assert caught.value.status == 429
    assert caught.value.retry_after_s is not None
    assert "pool 'local' is busy" in caught.value.message
    assert not patient.slot.done()
    assert pool.signals().queued == 1


async def test_the_timeout_of_the_queue_goes_before_a_deadline_that_is_later(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), slots=1, queue_timeout_s=2)
    await pool.enter().slot
    with pytest.raises(QueueTimeout):
        await pool.enter(deadline_s=100.0).slot
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)


async def test_a_deadline_is_no_matter_where_there_is_room(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    await asyncio.sleep(5)
    assert (await pool.enter(deadline_s=1.0).slot).waited_s == 0.0


async def test_a_slot_knows_its_number_in_the_queue(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=2)
    first, second = await pool.enter(lane="m").slot, await pool.enter(lane="m").slot
    assert first.ticket != second.ticket
    lane = pool.queue.lane("m")
    pool.queue.first_token(first.ticket, 0.5, 1.0)
    assert lane.prefill.samples == 1
    first.release()
    pool.queue.first_token(first.ticket, 0.5, 1.0)
    assert lane.prefill.samples == 1, "it runs no more"


async def test_whoever_steers_hears_of_endpoints_that_come_and_go(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle())
    heard: list[tuple[int, int]] = []
    pool.on_bounds = lambda told: heard.append((len(told.ready), told.limit))
    pool.lost(pool.endpoints[0])
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", slots=3))
    assert heard == [(1, SLOTS_UNKNOWN), (2, SLOTS_UNKNOWN + 3)]
