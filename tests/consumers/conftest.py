"""SDKs as applications make them, with their retries off so that a test sees the first answer."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import openai
import pytest

from tests.support.setpoint_server import Gateway, Served

Sdk = Callable[..., openai.OpenAI]


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """`sdk(gateway)` is a client of it; it is closed after the test."""
    with ExitStack() as clients:

        def make(gateway: Gateway, *, token: str = "unused") -> openai.OpenAI:
            client = openai.OpenAI(base_url=gateway.v1, api_key=token, max_retries=0, timeout=60)
            return clients.enter_context(client)

        yield make


@pytest.fixture
def client(sdk: Sdk, served: Served) -> openai.OpenAI:
    """A client of the gateway, once with the simulated and once with the real engine behind it."""
    return sdk(served.gateway)
