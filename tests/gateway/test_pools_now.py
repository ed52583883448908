"""Pools as rules see them, at the moment they ask."""

import pytest

from contracts.snapshot import PoolSignals
from gateway.pools_now import PoolsNow
from tests.fakes.scripted import ScriptedTransport
from tests.gateway.conftest import MakePool

pytestmark = pytest.mark.req("INT-2")


async def test_each_look_shows_a_pool_as_it_is_then(make_pool: MakePool) -> None:
    pool = make_pool("main", ScriptedTransport(), max_inflight=3)
    now = PoolsNow({"main": pool})
    assert (list(now), len(now)) == (["main"], 1)
    assert now["main"] == pool.signals()
    assert now["main"].inflight == 0
    pool.enter(0, [])
    assert now["main"].inflight == 1


async def test_a_pool_that_is_not_there_is_missed_as_in_any_mapping(make_pool: MakePool) -> None:
    assert PoolsNow({}).get("other", PoolSignals()) == PoolSignals()
