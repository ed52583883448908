"""The official OpenAI SDK in front of a whole gateway, which stands in front of whatever a test has made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai

from tests.fakes.edge import Edge, start_edge

HI: list[Any] = [{"role": "user", "content": "Hi"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
    {"type": "function", "function": {"name": "clock"}},
]


class Client(openai.AsyncOpenAI):
    """`edge` is the gateway that it speaks with."""

    edge: Edge

    async def said(self, **asked: Any) -> tuple[str, str | None]:
        """A streamed chat's text and finish reason."""
        stream = await self.chat.completions.create(
            **{"model": "served", "messages": HI, **asked}, stream=True
        )
        text, finish = "", None
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        return text, finish


@asynccontextmanager
async def openai_client(folder: Path, pool: str, model: str = "") -> AsyncIterator[Client]:
    """`pool` are members of the pool, `model` of the model `served`, beside its names."""
    models = f"models: [{{name: served, pool: p, {model}}}]\n" if model else ""
    edge = await start_edge(folder, f"pools: [{{id: p, {pool}}}]\n{models}")
    base_url = f"http://127.0.0.1:{edge.port}/v1"
    client = Client(base_url=base_url, api_key="unused", max_retries=0)
    client.edge = edge
    try:
        yield client
    finally:
        await client.close()
        await edge.aclose()
