"""The asynchronous client, and what only concurrency shows."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest

from tests.support.setpoint_server import Served

pytestmark = pytest.mark.req("OPS-4")
HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=served.gateway.v1, api_key="unused", max_retries=0, timeout=60
    ) as client:
        yield client


async def test_models_are_listed(client: openai.AsyncOpenAI, served: Served) -> None:
    assert served.model in [model.id async for model in client.models.list()]


@pytest.mark.req("RUN-1")
async def test_a_chat_is_answered(client: openai.AsyncOpenAI, served: Served) -> None:
    answer = await client.chat.completions.create(model=served.model, messages=HELLO, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer._request_id


@pytest.mark.req("RUN-3", "RUN-5")
async def test_eight_streams_at_once_do_not_mix(client: openai.AsyncOpenAI, served: Served) -> None:
    """More than the four slots of the llama.cpp server: the rest wait in the gateway."""

    async def one(number: int) -> tuple[str, str, int]:
        stream = await client.chat.completions.create(
            model=served.model,
            messages=[{"role": "user", "content": f"Number {number}."}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        async with stream:
            chunks = [chunk async for chunk in stream]
        (identity,) = {chunk.id for chunk in chunks}
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        usage = chunks[-1].usage
        assert usage is not None
        return identity, text, usage.completion_tokens

    answers = await asyncio.gather(*(one(number) for number in range(8)))
    assert len({identity for identity, _, _ in answers}) == 8
    assert all(text and 0 < tokens <= 8 for _, text, tokens in answers)


async def test_a_wrong_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="no-such-model", messages=HELLO)
