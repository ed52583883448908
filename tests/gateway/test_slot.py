"""A place at an endpoint: its number, and its one end."""

from collections.abc import Callable

import pytest

from gateway.pools import Pool
from tests.fakes.scripted import ScriptedTransport, answer

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-2", "RUN-5")]


def idle() -> ScriptedTransport:
    return ScriptedTransport(answer())


async def test_a_slot_is_released_once(make_pool: MakePool) -> None:
    pool = make_pool("local", idle(), slots=2)
    first, _second = await pool.enter(0).slot, await pool.enter(0).slot
    first.release()
    first.release()
    assert pool.signals().inflight == 1
    assert pool.endpoints[0].inflight == 1


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
