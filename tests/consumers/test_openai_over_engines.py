"""The OpenAI SDK, through the gateway, to every engine that is spoken with in other words: what is the same over all.

What only one of them does is in the file of its name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from tests.fakes import (
    anthropic_words,
    gemini_words,
    mlx_words,
    ollama_words,
    tgi_words,
    triton_words,
)
from tests.fakes.answers import Answer
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.gemini import FakeGemini
from tests.fakes.mlx import FakeMlx
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_client import HI, Client, openai_client
from tests.fakes.tgi import FakeTgi
from tests.fakes.triton import FakeTriton
from tests.fakes.triton_openai import FakeTritonOpenAI

pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "RUN-5", "RUN-6", "OPS-4")
SAID = Answer(text=("Good ", "day"))
LONG = Answer(text=("word ",) * 50)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """`cut` is the stream of `SAID` without its end, None where a stream has none to leave out."""

    fake: Callable[[], AbstractAsyncContextManager[Any]]
    model: str
    path: str = ""
    api_key: str = ""
    cut: bytes | None
    held_after: int = 2000
    """Bytes of the stream of `LONG` that are certainly not all of it."""


def _unfinished(chunks: bytes) -> bytes:
    """Up to the chunk that says how it ended."""
    return chunks[: chunks.rindex(b"data:", 0, chunks.index(b'"finish_reason":"'))]


ROWS: dict[str, Row] = {
    "anthropic": Row(
        fake=lambda: FakeAnthropic(cut=11),
        model=f"upstream: {anthropic_words.MODEL}",
        path="/v1/",
        api_key="sk-ant-1",
        cut=(whole := anthropic_words.stream(SAID))[: whole.index(b"event: message_delta")],
    ),
    "gemini": Row(
        fake=lambda: FakeGemini(cut=11),
        model=f"upstream: {gemini_words.MODEL}",
        path="/v1/",
        api_key="key-1",
        cut=gemini_words.framed(gemini_words.pieces(SAID)[:-1]),
    ),
    "ollama": Row(
        fake=lambda: FakeOllama(cut=11),
        model=f"upstream: '{ollama_words.MODEL}'",
        cut=ollama_words.framed(ollama_words.lines(SAID)[:-1]),
    ),
    "mlx": Row(
        fake=lambda: FakeMlx(cut=11),
        model="upstream: default_model",
        cut=mlx_words.broken_by(SAID),
        held_after=5000,
    ),
    "tgi": Row(
        fake=lambda: FakeTgi(cut=11),
        model=f"upstream: {tgi_words.MODEL}",
        cut=_unfinished(tgi_words.stream(SAID)),
        held_after=5000,
    ),
    "triton": Row(
        fake=lambda: FakeTriton(cut=11),
        model="upstream: llm, template: chatml",
        cut=None,
        held_after=1500,
    ),
    "triton_openai": Row(
        fake=lambda: FakeTritonOpenAI(cut=11),
        model="upstream: llm",
        cut=_unfinished(triton_words.openai_stream(SAID)),
        held_after=5000,
    ),
}


class Scene:
    """One engine, and clients of gateways in front of it."""

    def __init__(self, engine: str, fake: Any, connect: Callable[[str], Awaitable[Client]]) -> None:
        self.engine = engine
        self.row = ROWS[engine]
        self.fake = fake
        self.connect = connect


@pytest.fixture(params=ROWS)
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    engine: str = request.param
    row = ROWS[engine]
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(row.fake())

        async def connect(more: str = "retries: 0") -> Client:
            key = f"api_key: {row.api_key}, " if row.api_key else ""
            pool = f"engine: {engine}, endpoint: '{fake.url}{row.path}', {key}{more}"
            return await stack.enter_async_context(openai_client(tmp_path, pool, row.model))

        yield Scene(engine, fake, connect)


async def test_an_answer_is_what_was_said(scene: Scene) -> None:
    scene.fake.answers(Answer(text=("Grüezi ", "京都 👩\u200d👧")))
    client = await scene.connect("retries: 0")
    assert await client.said() == ("Grüezi 京都 👩\u200d👧", "stop")


async def test_a_stream_that_breaks_is_an_error_and_not_a_short_answer(scene: Scene) -> None:
    if scene.row.cut is None:
        scene.fake.breaks_off = True
    scene.fake.answers(SAID if scene.row.cut is None else scene.row.cut)
    client = await scene.connect("retries: 0")
    stream = await client.chat.completions.create(model="served", messages=HI, stream=True)
    said = ""

    async def read() -> None:
        nonlocal said
        async for chunk in stream:
            said += chunk.choices[0].delta.content or ""

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert said.startswith("Good ")  # one engine's last word comes with its end
    assert caught.value.code == "upstream_stream_broken"


async def test_what_it_cannot_do_is_refused_by_name_before_it_is_asked(scene: Scene) -> None:
    client = await scene.connect("retries: 0")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.said(logit_bias={"5": 1})
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "logit_bias")
    assert scene.fake.asked == []


@pytest.mark.parametrize("stream", [False, True])
async def test_or_left_out_and_named_where_the_pool_says_drop(scene: Scene, stream: bool) -> None:
    client = await scene.connect("unsupported: drop")
    raw = await client.chat.completions.with_raw_response.create(
        model="served", messages=HI, logit_bias={"5": 1}, stream=stream
    )
    assert raw.headers["x-setpoint-dropped"] == "logit_bias"
    if stream:
        async for _ in raw.parse():  # type: ignore[union-attr]  # a stream, as it was asked for
            pass
    assert "logit_bias" not in scene.fake.asked[-1].body
    kept = await client.chat.completions.with_raw_response.create(model="served", messages=HI)
    assert "x-setpoint-dropped" not in kept.headers


async def test_a_client_that_leaves_frees_it(scene: Scene) -> None:
    scene.fake.answers(LONG)
    scene.fake.hold_after = scene.row.held_after
    client = await scene.connect("retries: 0")
    stream = await client.chat.completions.create(model="served", messages=HI, stream=True)
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(10):
        await scene.fake.left.wait()
