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
    TaskExpired,
)
from gateway.endpoint import SLOTS_UNKNOWN
from gateway.pools import Pool
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


async def test_tasks_wait_in_a_room_of_their_own_for_as_long_as_they_say(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), slots=1, max_waiting=1, max_tasks=2, queue_timeout_s=5)
    await pool.enter(0).slot
    chat = pool.enter(0)
    tasks = [pool.enter(0, patient=True, timeout_s=60 + nth) for nth in range(3)]
    assert (pool.signals().queued, pool.signals().queued_tasks) == (1, 2)
    with pytest.raises(QueueFull, match=r"the task queue of pool 'local' is full \(2 waiting\)"):
        await tasks[2].slot
    with pytest.raises(QueueFull, match=r"the queue of pool 'local' is full \(1 waiting\)"):
        await pool.enter(0).slot
    with pytest.raises(QueueTimeout):
        await chat.slot
    with pytest.raises(TaskExpired, match="waited 60 s") as expired:
        await tasks[0].slot
    assert asyncio.get_running_loop().time() == pytest.approx(60.0)
    assert (expired.value.code, expired.value.status) == ("ttl_expired", 503)
    assert expired.value.retriable
    assert expired.value.retry_after_s is not None


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


async def test_whoever_steers_hears_of_endpoints_that_come_and_go(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle())
    heard: list[tuple[int, int]] = []
    pool.on_bounds = lambda told: heard.append((len(told.ready), told.limit))
    pool.lost(pool.endpoints[0])
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", slots=3))
    assert heard == [(1, SLOTS_UNKNOWN), (2, SLOTS_UNKNOWN + 3)]


# -- sessions ---------------------------------------------------------------------------

ANN, BOB = ("ann", "chat-1"), ("bob", "chat-1")


async def test_a_session_goes_back_to_its_endpoint_while_that_has_a_free_slot(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), idle(), slots=2)
    other = await pool.enter(0).slot
    first = await pool.enter(0, session=ANN).slot
    assert (other.endpoint.index, first.endpoint.index) == (0, 1)
    first.release()
    await pool.enter(0).slot  # one each now: without a session the first endpoint would be next
    second = await pool.enter(0, session=ANN).slot
    assert second.endpoint.index == 1


@pytest.mark.req("ADM-7", "ENG-6")
async def test_a_session_does_not_wait_for_a_full_endpoint_and_moves(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle(), slots=2)
    homes = [await pool.enter(0, session=ANN).slot for _ in range(3)]
    assert [slot.endpoint.index for slot in homes] == [0, 0, 1]
    for slot in homes:
        slot.release()
    assert (await pool.enter(0, session=ANN).slot).endpoint.index == 1


@pytest.mark.req("ADM-7", "ENG-6")
async def test_a_session_leaves_an_endpoint_that_is_not_ready_or_to_be_avoided(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), idle(), slots=2)
    (await pool.enter(0, session=ANN).slot).release()
    retried = await pool.enter(0, [pool.endpoints[0]], session=ANN).slot
    assert retried.endpoint.index == 1
    retried.release()
    pool.learn(pool.endpoints[1], EndpointState(live=True, ready=False, why="loading"))
    assert (await pool.enter(0, session=ANN).slot).endpoint.index == 0


@pytest.mark.req("ADM-7")
async def test_where_it_goes_is_decided_when_it_is_let_in_and_not_when_it_comes(
    make_pool: MakePool,
) -> None:
    pool = make_pool("local", idle(), idle(), slots=1)
    first = await pool.enter(0, session=ANN).slot
    other = await pool.enter(0).slot
    waiting = pool.enter(0, session=ANN)
    assert (first.endpoint.index, other.endpoint.index) == (0, 1)
    other.release()  # the only free place is not its own: it takes it, and lives there from now on
    moved = await waiting.slot
    assert moved.endpoint.index == 1
    moved.release()
    first.release()
    assert (await pool.enter(0, session=ANN).slot).endpoint.index == 1


@pytest.mark.req("ADM-7", "SEC-1")
async def test_the_same_name_of_two_callers_is_two_sessions(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle(), slots=4)
    ann = await pool.enter(0, session=ANN).slot
    bob = await pool.enter(0, session=BOB).slot
    assert (ann.endpoint.index, bob.endpoint.index) == (0, 1)


@pytest.mark.req("ADM-7")
async def test_a_session_is_forgotten_after_its_time(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), idle(), slots=4)
    held = await pool.enter(0).slot
    (await pool.enter(0, session=ANN).slot).release()
    held.release()
    await asyncio.sleep(599.0)
    (await pool.enter(0, session=ANN).slot).release()
    await asyncio.sleep(600.0)
    assert (await pool.enter(0, session=ANN).slot).endpoint.index == 0
