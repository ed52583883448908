"""The gateway that the description is of, running."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.configuration import load
from gateway.listener import Listener
from gateway.runtime import Gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """The built-in configuration: a simulated llm-d, no token."""
    gateway = Gateway(load(None, env={}))
    await gateway.health.first_look()
    yield gateway
    await gateway.aclose()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    listener = await Listener.start(gateway, "127.0.0.1", 0)
    async with aiohttp.ClientSession(listener.url) as session:
        yield session
    await listener.close()
