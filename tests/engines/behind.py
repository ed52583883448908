"""A real engine with a gateway in front of it, as a test gets them, and how a test asks through it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from tests.engines.servers import SERVERS, EngineServer
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway

PATIENCE_S = 300.0
"""A small model on a busy CPU."""
COUNT: list[Any] = [{"role": "user", "content": "Count from one to twenty, in words."}]


class Told(NamedTuple):
    text: str
    finish: str | None
    usage: CompletionUsage | None
    chunks: list[ChatCompletionChunk]


class Behind(NamedTuple):
    """Of the gateway's models, `served` is the engine's, and `absent` one that it does not have."""

    gateway: Gateway
    server: EngineServer
    client: openai.OpenAI

    @property
    def engine(self) -> str:
        return self.server.engine

    def begin(self, **asked: Any) -> openai.Stream[ChatCompletionChunk]:
        """A long answer, unless `asked` is something else."""
        stream: openai.Stream[ChatCompletionChunk] = self.client.chat.completions.create(
            **{
                "model": "served",
                "messages": COUNT,
                "temperature": 0,
                "max_tokens": 400,
                "stream": True,
                "stream_options": {"include_usage": True},
                **asked,
            }
        )
        return stream

    def stream(self, **asked: Any) -> Told:
        """The whole answer."""
        chunks = list(self.begin(**asked))
        choices = [choice for chunk in chunks for choice in chunk.choices]
        usages = [chunk.usage for chunk in chunks if chunk.usage]
        return Told(
            text="".join(choice.delta.content or "" for choice in choices),
            finish=next((c.finish_reason for c in reversed(choices) if c.finish_reason), None),
            usage=usages[-1] if usages else None,
            chunks=chunks,
        )


@contextlib.contextmanager
def started(
    engine: str, folder: Path, *arguments: str, pool: str = "", more: str = ""
) -> Iterator[Behind]:
    """`arguments` are further ones of the engine's command line, `pool` members of its pool (", name: value"),
    `more` of the whole configuration."""
    server = SERVERS[engine](folder, *arguments)
    try:
        server.start()
        models = {"served": server.upstream, "absent": "nope/x", **server.others}
        gateway = Gateway(
            folder,
            f"pools: [{{id: p, engine: {engine}, endpoint: '{server.url}', retries: 0{pool}}}]\n"
            + "models:\n"
            + "".join(
                f"  - {{name: {name}, pool: p, upstream: {upstream}{server.members}}}\n"
                for name, upstream in models.items()
            )
            + more,
        )
        try:
            gateway.start()
            eventually(gateway.ready, f"the gateway finds {engine} ready")
            client = openai.OpenAI(
                base_url=gateway.v1, api_key="unused", max_retries=0, timeout=PATIENCE_S
            )
            with client:
                yield Behind(gateway, server, client)
        finally:
            gateway.stop()
    finally:
        server.stop()
