"""The OpenAI SDK, through the gateway, to Ollama: what an application does, and what it gets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from contracts.events import Usage
from tests.fakes import ollama_words
from tests.fakes.answers import Answer, Call, Refusal
from tests.fakes.edge import Edge, start_edge
from tests.fakes.ollama import FakeOllama

MakeClient = Callable[..., Awaitable[openai.AsyncOpenAI]]
pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "RUN-6", "OPS-4")

HI: list[Any] = [{"role": "user", "content": "Hi"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
CALLS = Answer(
    reasoning=("Where? ",),
    text=("Let me look.",),
    calls=(
        Call("call_1", "weather", ('{"city": ', '"Zürich"}')),
        Call("call_2", "weather", ('{"city": "京都"}',)),
    ),
    finish="tool_calls",
    usage=Usage(prompt_tokens=40, completion_tokens=12),
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(cut=11) as fake:
        yield fake


@pytest.fixture
async def make_client(tmp_path: Path, fake: FakeOllama) -> AsyncIterator[MakeClient]:
    """`await make_client("unsupported: drop")`: a client of a gateway whose pool has these members."""
    opened: list[tuple[Edge, openai.AsyncOpenAI]] = []

    async def make(pool: str = "retries: 0", model: str = "") -> openai.AsyncOpenAI:
        edge = await start_edge(
            tmp_path,
            f"pools: [{{id: home, engine: ollama, endpoint: '{fake.url}', {pool}}}]\n"
            f"models: [{{name: local, pool: home, upstream: '{ollama_words.MODEL}'{model}}}]\n",
        )
        base_url = f"http://127.0.0.1:{edge.port}/v1"
        client = openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0)
        opened.append((edge, client))
        return client

    yield make
    for edge, client in opened:
        await client.close()
        await edge.aclose()


async def test_a_chat_is_answered(make_client: MakeClient, fake: FakeOllama) -> None:
    fake.answers(Answer(text=("Grüezi ", "京都 👩\u200d👧")))
    client = await make_client(model=", context: 16384")
    answer = await client.chat.completions.create(
        model="local",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        temperature=0.2,
        max_tokens=50,
    )
    assert answer.choices[0].message.content == "Grüezi 京都 👩\u200d👧"
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "local")
    asked = fake.asked[-1]
    assert asked.path == "/api/chat"
    assert asked.body["options"] == {"temperature": 0.2, "num_predict": 50, "num_ctx": 16_384}


async def test_a_conversation_with_tools_goes_there_and_back(
    make_client: MakeClient, fake: FakeOllama
) -> None:
    fake.answers(CALLS, Answer(text=("Rain.",)))
    client = await make_client()
    first = await client.chat.completions.create(
        model="local", messages=HI, tools=TOOLS, reasoning_effort="low"
    )
    message: Any = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.model_extra["reasoning_content"] == "Where? "
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls]
    assert calls == [
        ("call_1", "weather", '{"city": "Zürich"}'),
        ("call_2", "weather", '{"city": "京都"}'),
    ]
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls
    ]
    second = await client.chat.completions.create(
        model="local",
        messages=[*HI, message.model_dump(exclude_none=True), *results],
        tools=TOOLS,
    )
    assert second.choices[0].message.content == "Rain."
    *_, last = fake.asked[-1].body["messages"]
    assert last == {
        "role": "tool",
        "content": "rain",
        "tool_call_id": "call_2",
        "tool_name": "weather",
    }


async def test_a_stream_is_what_the_sdk_expects(make_client: MakeClient, fake: FakeOllama) -> None:
    fake.answers(CALLS)
    client = await make_client()
    async with client.chat.completions.stream(
        model="local", messages=HI, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "Let me look."
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (40, 12)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_text_is_completed(make_client: MakeClient, fake: FakeOllama, stream: bool) -> None:
    fake.answers(Answer(text=(" upon", " a time"), finish="length"))
    client = await make_client()
    answer: Any = await client.completions.create(
        model="local", prompt="Once", max_tokens=3, stream=stream
    )
    chunks = [chunk async for chunk in answer] if stream else [answer]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == " upon a time"
    assert choices[-1].finish_reason == "length"
    assert (fake.asked[-1].path, fake.asked[-1].body["raw"]) == ("/api/generate", True)


async def test_texts_are_embedded(make_client: MakeClient) -> None:
    client = await make_client()
    answer = await client.embeddings.create(model="local", input=["ab", "abcd"], dimensions=2)
    assert [entry.embedding for entry in answer.data] == [[0.125, 0.125], [0.25, 0.25]]
    assert (answer.usage.prompt_tokens, answer.model) == (4, "local")


@pytest.mark.parametrize(
    ("refusal", "raised", "code"),
    [
        (
            ollama_words.refusal(400, '"x" does not support tools'),
            openai.BadRequestError,
            "invalid_request",
        ),
        (ollama_words.too_long(9000, 4096), openai.BadRequestError, "context_length_exceeded"),
        (
            ollama_words.refusal(503, "server busy, please try again."),
            openai.InternalServerError,
            "upstream_unavailable",
        ),
        (
            ollama_words.refusal(404, "model 'x' not found"),
            openai.InternalServerError,
            "upstream_not_found",
        ),
    ],
)
async def test_an_error_is_the_one_the_sdk_knows(
    make_client: MakeClient,
    fake: FakeOllama,
    refusal: Refusal,
    raised: type[openai.APIStatusError],
    code: str,
) -> None:
    fake.answers(refusal)
    client = await make_client()
    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model="local", messages=HI)
    assert caught.value.code == code


async def test_what_ollama_would_pass_over_is_refused_by_name_or_left_out(
    make_client: MakeClient, fake: FakeOllama
) -> None:
    client = await make_client()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="local", messages=HI, tools=TOOLS, tool_choice="required"
        )
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tool_choice")
    assert fake.asked == []
    client = await make_client("unsupported: drop")
    raw = await client.chat.completions.with_raw_response.create(
        model="local", messages=HI, tools=TOOLS, tool_choice="required"
    )
    assert raw.headers["x-setpoint-dropped"] == "tool_choice"


async def test_models_are_found_by_themselves(tmp_path: Path, fake: FakeOllama) -> None:
    fake.models = ("qwen3:8b", "gemma3:1b")
    edge = await start_edge(
        tmp_path, f"pools: [{{id: home, engine: ollama, endpoint: '{fake.url}'}}]\n"
    )
    base_url = f"http://127.0.0.1:{edge.port}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0) as client:
        assert {model.id async for model in client.models.list()} == {"qwen3:8b", "gemma3:1b"}
        await client.chat.completions.create(model="gemma3:1b", messages=HI)
    assert fake.asked[-1].body["model"] == "gemma3:1b"
    await edge.aclose()
