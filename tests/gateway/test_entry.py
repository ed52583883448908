"""A request at a pool's door: its place while it waits, and how it leaves."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from contracts.errors import QueueFull
from gateway.pools import Pool
from policies.admission import Place
from tests.fakes.scripted import ScriptedTransport, answer

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-2", "RUN-5")]


def idle() -> ScriptedTransport:
    return ScriptedTransport(answer())


async def test_an_entry_knows_its_place_until_it_has_ended(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1, max_tasks=1)
    first, second, third = (pool.enter(0) for _ in range(3))
    assert first.pool is pool
    assert [entry.place() for entry in (first, second, third)] == [
        Place(0, 0.0),
        Place(1, None),
        Place(2, None),
    ]
    second.leave()
    assert (second.place(), third.place()) == (None, Place(1, None))
    (await first.slot).release()
    assert (first.place(), third.place()) == (None, Place(0, 0.0))
    waits, refused = pool.enter(0, patient=True), pool.enter(0, patient=True)
    assert (waits.place(), refused.place()) == (Place(1, None), None)


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


@pytest.mark.req("OPS-4")
async def test_where_a_place_is_free_nobody_waits(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    first, second = pool.enter(0), pool.enter(0)
    assert (first.waits, second.waits) == (False, True)
    assert first.given is not None
    assert await first.slot is first.given, "who asks all the same has it too"
    first.leave()
    assert not second.waits
    assert second.given is await second.slot


async def test_a_refusal_that_nobody_waits_for_is_no_error(make_pool: MakePool) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    pool = make_pool("local", idle(), slots=1, max_waiting=0)
    held, refused = pool.enter(0), pool.enter(0)
    assert isinstance(refused.refused, QueueFull)
    refused.leave()
    del refused
    gc.collect()
    assert complaints == []
    held.leave()
    assert pool.signals().inflight == 0


async def test_a_place_that_comes_after_its_waiter_has_gone_is_nobodys(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=1)
    held, waiting, next_one = (pool.enter(0) for _ in range(3))
    waiting.slot.cancel()  # as a task does that is cancelled, before it can leave
    assert not waiting.waits
    held.leave()
    assert waiting.given is None
    waiting.leave()
    assert next_one.given is not None
