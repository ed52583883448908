"""What is known of one backend process, and for how long."""

import asyncio
from collections.abc import Callable

import pytest

from adapters.rate_limits import Allowance, RateLimits
from gateway.pools import Pool
from tests.fakes.scripted import ScriptedTransport, answer

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-2", "RUN-5")]


def idle() -> ScriptedTransport:
    return ScriptedTransport(answer())


@pytest.mark.req("ADM-7", "ENG-6")
async def test_what_a_provider_tells_of_its_limits_is_known_until_their_reset(
    make_pool: MakePool,
) -> None:
    pool = make_pool("a", idle())
    (endpoint,) = pool.endpoints
    assert pool.rate_limits_of(endpoint) is None
    told = RateLimits(tokens=Allowance(remaining=5, limit=9, reset_s=60.0))
    endpoint.told_limits(told, pool.now_s())
    await asyncio.sleep(20)
    assert pool.rate_limits_of(endpoint) == told.after(20.0)
    await asyncio.sleep(41)
    assert pool.rate_limits_of(endpoint) is None


async def test_another_backend_has_limits_of_its_own(make_pool: MakePool) -> None:
    pool = make_pool("a", idle())
    (endpoint,) = pool.endpoints
    endpoint.told_limits(RateLimits(tokens=Allowance(remaining=5)), pool.now_s())
    pool.drain()
    pool.restore()
    assert pool.rate_limits_of(endpoint) is None
