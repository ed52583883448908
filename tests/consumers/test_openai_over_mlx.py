"""The OpenAI SDK, through the gateway, to `mlx_lm.server`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import openai
import pytest

from contracts.events import Usage
from tests.fakes import mlx_words
from tests.fakes.answers import Answer, Call
from tests.fakes.mlx import FakeMlx
from tests.fakes.openai_client import HI, TOOLS, Client, openai_client

Connect = Callable[..., Awaitable[Client]]
pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "OPS-4")


@pytest.fixture
async def fake() -> AsyncIterator[FakeMlx]:
    async with FakeMlx(cut=11) as fake:
        yield fake


@pytest.fixture
async def connect(tmp_path: Path, fake: FakeMlx) -> AsyncIterator[Connect]:
    """`await connect("max_inflight: 4")`: a client of a gateway whose pool has these members."""
    async with AsyncExitStack() as stack:

        async def make(more: str = "retries: 0") -> Client:
            pool = f"engine: mlx, endpoint: '{fake.url}', {more}"
            return await stack.enter_async_context(
                openai_client(tmp_path, pool, "upstream: default_model")
            )

        yield make


async def test_a_chat_is_answered(connect: Connect, fake: FakeMlx) -> None:
    usage = Usage(prompt_tokens=37, completion_tokens=8, cached_tokens=36)
    fake.answers(Answer(text=("Grüezi ", "京都"), usage=usage))
    client = await connect()
    answer = await client.chat.completions.create(model="served", messages=HI, max_tokens=8)
    assert answer.choices[0].message.content == "Grüezi 京都"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (37, 8)
    assert fake.asked[-1].body["model"] == "default_model"
    assert "authorization" not in fake.asked[-1].headers


async def test_calls_and_reasoning_arrive(connect: Connect, fake: FakeMlx) -> None:
    calls = (Call("c1", "weather", ('{"city": "A"}',)), Call("c2", "clock", ("{}",)))
    fake.answers(Answer(reasoning=("Hmm. ",), calls=calls, finish="tool_calls"))
    client = await connect()
    answer = await client.chat.completions.create(model="served", messages=HI, tools=TOOLS)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [(c.id, c.function.arguments) for c in message.tool_calls or ()] == [  # type: ignore[union-attr]
        ("c1", '{"city": "A"}'),
        ("c2", "{}"),
    ]
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Hmm. "


async def test_an_answer_ends_at_a_stop_sequence_that_the_engine_is_not_told(
    connect: Connect, fake: FakeMlx
) -> None:
    fake.answers(Answer(text=("The capital of F", "ran", "ce", " is Paris.")))
    client = await connect()
    assert await client.said(stop=["France"]) == ("The capital of ", "stop")
    assert "stop" not in fake.asked[-1].body


async def test_a_text_completion_is_answered(connect: Connect, fake: FakeMlx) -> None:
    fake.answers(Answer(text=("Once ", "more"), finish="length"))
    client = await connect()
    answer = await client.completions.create(model="served", prompt="Once", max_tokens=2)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Once more", "length")
    assert fake.asked[-1].body["prompt"] == "Once"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:,"}}],
                    }
                ]
            },
            "messages[0].content[0]",
        ),
    ],
)
async def test_what_it_would_ignore_is_refused_by_name(
    connect: Connect, fake: FakeMlx, asked: dict, param: str
) -> None:
    client = await connect()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**{"model": "served", "messages": HI, **asked})
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
    assert fake.asked == []


async def test_its_404_is_about_the_request_and_said_so(connect: Connect, fake: FakeMlx) -> None:
    client = await connect("retries: 1")
    said = "'dict object' has no attribute 'role'"
    fake.answers(mlx_words.refusal(404, said))
    with pytest.raises(openai.BadRequestError, match="no attribute"):
        await client.said()
    assert len(fake.asked) == 1


async def test_nobody_can_end_it_and_what_others_have_ended_is_unavailable(
    connect: Connect, fake: FakeMlx
) -> None:
    client = await connect()
    harm = {"top_k": mlx_words.VOCABULARY}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model="served", messages=HI, temperature=1, extra_body=harm
        )
    assert (refused.value.param, fake.asked) == ("top_k", [])
    fake.dead = True
    with pytest.raises(openai.InternalServerError) as caught:
        await client.said()
    assert (caught.value.status_code, caught.value.code) == (503, "upstream_unavailable")


@pytest.mark.req("RUN-5")
async def test_one_request_is_there_at_a_time(connect: Connect, fake: FakeMlx) -> None:
    client = await connect()
    assert client.edge.gateway.pools["p"].limit == 1
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(client.said())
    assert (fake.most_at_once, len(fake.asked)) == (1, 5)


async def test_more_are_there_at_once_if_the_operator_says_so(
    connect: Connect, fake: FakeMlx
) -> None:
    client = await connect("max_inflight: 4")
    assert client.edge.gateway.pools["p"].limit == 4


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (("/models/smol",), ["default_model"]),
        (("mlx-community/a", "/models/smol"), ["default_model", "mlx-community/a"]),
        (None, ["default_model"]),
    ],
)
async def test_its_models_are_found_and_no_path_is_shown(
    tmp_path: Path, fake: FakeMlx, listed: tuple[str, ...] | None, names: list[str]
) -> None:
    fake.models = listed
    async with openai_client(tmp_path, f"engine: mlx, endpoint: '{fake.url}'") as client:
        assert sorted([model.id async for model in client.models.list()]) == names
