"""The official SDK of those whom MLX, TGI and Triton's frontend imitate accepts what their fakes say."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from contracts.events import Usage
from tests.fakes import mlx_words, tgi_words, triton_words
from tests.fakes.answers import Answer, Call
from tests.fakes.mlx import FakeMlx
from tests.fakes.tgi import FakeTgi
from tests.fakes.triton import FakeTriton
from tests.fakes.triton_openai import FakeTritonOpenAI

pytestmark = pytest.mark.req("RUN-2")
MODELS = {
    FakeMlx: mlx_words.DEFAULT,
    FakeTgi: tgi_words.MODEL,
    FakeTritonOpenAI: triton_words.MODEL,
}
USAGE = Usage(prompt_tokens=9, completion_tokens=4)


@pytest.fixture(params=list(MODELS), ids=lambda kind: kind.__name__)
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with request.param(cut=7) as fake:
        yield fake


async def ask(fake: Any, **asked: Any) -> tuple[str, list[tuple[str, str]], Any]:
    """Text, calls by name and arguments, and the usage."""
    text, calls, usage = "", dict[int, list[str]](), None
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            openai.AsyncOpenAI(base_url=f"{fake.url}/v1", api_key="k", max_retries=0)
        )
        stream = await client.chat.completions.create(
            **{
                "model": MODELS[type(fake)],
                "messages": [{"role": "user", "content": "Hi"}],
                "stream_options": {"include_usage": True},
                **asked,
            },
            stream=True,
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for piece in choice.delta.tool_calls or ():
                    entry = calls.setdefault(piece.index, ["", ""])
                    entry[0] = entry[0] or piece.function.name or ""  # type: ignore[union-attr]
                    entry[1] += piece.function.arguments or ""  # type: ignore[union-attr]
    return text, [(name, given) for name, given in calls.values()], usage


async def test_the_sdk_reads_a_stream(fake: Any) -> None:
    fake.answers(Answer(text=("It ", "is\u2028", "👩\u200d👧."), usage=USAGE))
    text, _, usage = await ask(fake)
    assert text == "It is\u2028👩\u200d👧."
    assert (usage.prompt_tokens, usage.completion_tokens) == (9, 4)


async def test_the_sdk_reads_a_call(fake: Any) -> None:
    call = Call("call_1", "weather", ('{"city": ', '"Zürich"}'))
    fake.answers(Answer(calls=(call,), finish="tool_calls"))
    _, calls, _ = await ask(fake)
    assert calls == [("weather", '{"city": "Zürich"}')]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        (FakeMlx, {"model": "nope/x"}),
        (FakeMlx, {"messages": []}),
        (FakeTgi, {"stop": "END"}),
        (FakeTgi, {"top_p": 1}),
        (FakeTgi, {"messages": [{"role": "developer", "content": "x"}]}),
        (FakeTritonOpenAI, {"parallel_tool_calls": False}),
        (FakeTritonOpenAI, {"model": "nope"}),
    ],
)
async def test_what_the_real_one_would_not_take_is_refused(kind: Any, asked: Any) -> None:
    async with kind() as fake:
        with pytest.raises(openai.APIStatusError):
            await ask(fake, **asked)


async def test_a_triton_takes_what_no_model_knows_unless_it_is_a_list() -> None:
    import aiohttp

    async with FakeTriton() as fake, aiohttp.ClientSession() as session:
        url = f"{fake.url}/v2/models/llm/generate_stream"
        for body, status in (
            ({"text_input": "a", "whatever": 5}, 200),
            ({"text_input": "a", "stop": ["END"]}, 400),
            ({}, 400),
        ):
            async with session.post(url, json=body) as answer:
                assert answer.status == status
