"""The OpenAI SDK, through the gateway, to TGI."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import openai
import pytest

from contracts.events import Usage
from tests.fakes import tgi_words
from tests.fakes.answers import Answer, Call
from tests.fakes.openai_client import HI, TOOLS, Client, openai_client
from tests.fakes.tgi import FakeTgi

Connect = Callable[..., Awaitable[Client]]
pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "OPS-4")


@pytest.fixture
async def fake() -> AsyncIterator[FakeTgi]:
    async with FakeTgi(cut=11) as fake:
        fake.api_key = "hf-1"
        yield fake


@pytest.fixture
async def connect(tmp_path: Path, fake: FakeTgi) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def make(more: str = "retries: 0") -> Client:
            pool = f"engine: tgi, endpoint: '{fake.url}', api_key: hf-1, {more}"
            return await stack.enter_async_context(
                openai_client(tmp_path, pool, f"upstream: {tgi_words.MODEL}")
            )

        yield make


async def test_a_chat_is_answered(connect: Connect, fake: FakeTgi) -> None:
    fake.answers(
        Answer(text=("Grüezi ", "京都"), usage=Usage(prompt_tokens=39, completion_tokens=3))
    )
    client = await connect()
    answer = await client.chat.completions.create(
        model="served",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        max_completion_tokens=50,
        top_p=1,
        presence_penalty=0,
    )
    assert answer.choices[0].message.content == "Grüezi 京都"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (39, 3)
    body = fake.asked[-1].body
    assert body["max_tokens"] == 50
    assert not {"max_completion_tokens", "top_p", "presence_penalty"} & set(body)


async def test_a_stop_sequence_is_no_part_of_the_answer(connect: Connect, fake: FakeTgi) -> None:
    fake.answers(Answer(text=("up to", " here"), stop_sequence="END"))
    client = await connect()
    assert await client.said(stop="END") == ("up to here", "stop")
    assert fake.asked[-1].body["stop"] == ["END"]


async def test_a_conversation_with_tools_goes_there_and_back(
    connect: Connect, fake: FakeTgi
) -> None:
    call = Call("ignored", "weather", ("{", ' "city": "Zür', 'ich"}'))
    fake.answers(Answer(calls=(call,), finish="tool_calls"), Answer(text=("Rain.",)))
    client = await connect()
    first = await client.chat.completions.create(
        model="served", messages=HI, tools=TOOLS, tool_choice="required"
    )
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (made,) = message.tool_calls
    assert made.function.arguments == '{ "city": "Zürich"}'  # type: ignore[union-attr]
    assert made.id not in ("0", "", None)
    second = await client.chat.completions.create(
        model="served",
        messages=[
            *HI,
            message.model_dump(exclude_none=True),  # type: ignore[list-item]
            {"role": "tool", "tool_call_id": made.id, "content": "rain"},
        ],
        tools=TOOLS,
    )
    assert second.choices[0].message.content == "Rain."


async def test_json_by_a_schema_is_asked_in_its_words(connect: Connect, fake: FakeTgi) -> None:
    fake.answers(Answer(text=('{"a":1}',)))
    client = await connect()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    await client.said(
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    )
    assert fake.asked[-1].body["response_format"] == {"type": "json", "value": schema}


async def test_a_text_completion_goes_to_generate_stream(connect: Connect, fake: FakeTgi) -> None:
    usage = Usage(prompt_tokens=5, completion_tokens=2)
    fake.answers(Answer(text=("Once ", "more"), finish="length", usage=usage))
    client = await connect()
    answer = await client.completions.create(
        model="served", prompt="Once", max_tokens=2, temperature=0
    )
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Once more", "length")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 2)
    asked = fake.asked[-1]
    assert asked.path == "/generate_stream"
    assert asked.body["parameters"] == {"details": True, "do_sample": False, "max_new_tokens": 2}


@pytest.mark.parametrize("inside", [False, True])
async def test_an_overload_is_tried_again_wherever_it_was_said(
    connect: Connect, fake: FakeTgi, inside: bool
) -> None:
    said = "Model is overloaded"
    full = tgi_words.broken_by(Answer(), said)
    before = tgi_words.refusal(429, said, "overloaded")
    fake.answers(full if inside else before, Answer(text=("Here.",)))
    client = await connect("retries: 1")
    assert await client.said() == ("Here.", "stop")


@pytest.mark.parametrize(
    ("said", "raised", "code"),
    [
        ("Input validation error: bad", openai.UnprocessableEntityError, "invalid_request"),
        (
            "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
            openai.BadRequestError,
            "context_length_exceeded",
        ),
    ],
)
async def test_what_is_wrong_with_a_request_is_told(
    connect: Connect,
    fake: FakeTgi,
    said: str,
    raised: type[openai.APIStatusError],
    code: str,
) -> None:
    fake.answers(tgi_words.refusal(422, said, "validation"))
    client = await connect()
    with pytest.raises(raised) as caught:
        await client.said()
    assert caught.value.code == code


async def test_its_limit_is_the_pools(connect: Connect, fake: FakeTgi) -> None:
    fake.info = {"max_concurrent_requests": 3, "max_total_tokens": 777}
    client = await connect("max_inflight: 50")
    pool = client.edge.gateway.pools["p"]
    assert pool.limit == 3
    (state,) = [endpoint.state for endpoint in pool.endpoints]
    assert (state.context, state.version) == (777, "3.3.6")


async def test_a_sick_one_is_not_ready(connect: Connect, fake: FakeTgi) -> None:
    fake.healthy = False
    client = await connect()
    with pytest.raises(openai.InternalServerError) as caught:
        await client.said()
    assert caught.value.code == "no_ready_backend"
