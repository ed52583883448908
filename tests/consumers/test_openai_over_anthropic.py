"""The OpenAI SDK, through the gateway, to Anthropic: what an application does, and what it gets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from contracts.events import Usage
from tests.fakes import anthropic_words
from tests.fakes.answers import Answer, Call
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.edge import Edge, start_edge

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
        Call("toolu_1", "weather", ('{"city": ', '"Zürich"}')),
        Call("toolu_2", "weather", ('{"city": "京都"}',)),
    ),
    finish="tool_calls",
    usage=Usage(prompt_tokens=40, completion_tokens=12, cached_tokens=30, reasoning_tokens=5),
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic(cut=11) as fake:
        yield fake


@pytest.fixture
async def make_client(tmp_path: Path, fake: FakeAnthropic) -> AsyncIterator[MakeClient]:
    """`await make_client("unsupported: drop")`: a client of a gateway whose pool has these members."""
    opened: list[tuple[Edge, openai.AsyncOpenAI]] = []

    async def make(pool: str = "retries: 0") -> openai.AsyncOpenAI:
        edge = await start_edge(
            tmp_path,
            f"pools: [{{id: claude, engine: anthropic, endpoint: '{fake.url}/v1/', "
            f"api_key: sk-ant-1, {pool}}}]\n"
            f"models: [{{name: clever, pool: claude, upstream: {anthropic_words.MODEL}}}]\n",
        )
        base_url = f"http://127.0.0.1:{edge.port}/v1"
        client = openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0)
        opened.append((edge, client))
        return client

    yield make
    for edge, client in opened:
        await client.close()
        await edge.aclose()


async def test_a_chat_is_answered(make_client: MakeClient, fake: FakeAnthropic) -> None:
    fake.answers(Answer(text=("Grüezi ", "京都 👩\u200d👧")))
    client = await make_client()
    answer = await client.chat.completions.create(
        model="clever",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        temperature=0.2,
        max_tokens=50,
    )
    assert answer.choices[0].message.content == "Grüezi 京都 👩\u200d👧"
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "clever")
    asked = fake.asked[-1]
    assert asked.headers["x-api-key"] == "sk-ant-1"
    assert "authorization" not in asked.headers
    assert asked.body["system"] == [{"type": "text", "text": "Be brief."}]
    assert (asked.body["temperature"], asked.body["max_tokens"]) == (0.2, 50)


async def test_a_conversation_with_tools_goes_there_and_back(
    make_client: MakeClient, fake: FakeAnthropic
) -> None:
    fake.answers(CALLS, Answer(text=("Rain.",)))
    client = await make_client()
    first = await client.chat.completions.create(
        model="clever", messages=HI, tools=TOOLS, reasoning_effort="low"
    )
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Where? "
    assert message.tool_calls is not None
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls]  # type: ignore[union-attr]
    assert calls == [
        ("toolu_1", "weather", '{"city": "Zürich"}'),
        ("toolu_2", "weather", '{"city": "京都"}'),
    ]
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls
    ]
    second = await client.chat.completions.create(
        model="clever",
        messages=[*HI, message.model_dump(exclude_none=True), *results],
        tools=TOOLS,
        reasoning_effort="low",
    )
    assert second.choices[0].message.content == "Rain."
    thought, *_ = fake.asked[-1].body["messages"][1]["content"]
    assert thought == {
        "type": "thinking",
        "thinking": "Where? ",
        "signature": anthropic_words.SIGNATURE,
    }


async def test_a_stream_is_what_the_sdk_expects(
    make_client: MakeClient, fake: FakeAnthropic
) -> None:
    fake.answers(CALLS)
    client = await make_client()
    async with client.chat.completions.stream(
        model="clever", messages=HI, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "Let me look."
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (40, 12)
    assert final.usage.prompt_tokens_details is not None
    assert final.usage.prompt_tokens_details.cached_tokens == 30
    assert final.usage.completion_tokens_details is not None
    assert final.usage.completion_tokens_details.reasoning_tokens == 5


async def test_a_model_list_is_what_the_endpoint_says(
    make_client: MakeClient, fake: FakeAnthropic
) -> None:
    client = await make_client()
    assert [model.id async for model in client.models.list()] == ["clever"]


@pytest.mark.parametrize(
    ("kind", "message", "raised", "code"),
    [
        ("invalid_request_error", "messages: bad", openai.BadRequestError, "invalid_request"),
        (
            "invalid_request_error",
            "prompt is too long: 9 tokens > 5 maximum",
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        ("rate_limit_error", "slow down", openai.RateLimitError, "upstream_rate_limited"),
        ("overloaded_error", "Overloaded", openai.InternalServerError, "upstream_unavailable"),
        ("authentication_error", "sk-ant-1 is wrong", openai.InternalServerError, "upstream_auth"),
    ],
)
async def test_an_error_is_the_one_the_sdk_knows(
    make_client: MakeClient,
    fake: FakeAnthropic,
    kind: str,
    message: str,
    raised: type[openai.APIStatusError],
    code: str,
) -> None:
    fake.answers(anthropic_words.refusal(kind, message, retry_after="3"))
    client = await make_client()
    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model="clever", messages=HI)
    assert caught.value.code == code
    assert "sk-ant" not in str(caught.value)
    if caught.value.status_code == 429:
        assert caught.value.response.headers["retry-after"] == "3"


async def test_an_overload_before_the_first_word_is_tried_again(
    make_client: MakeClient, fake: FakeAnthropic
) -> None:
    fake.answers(anthropic_words.refusal("overloaded_error", "Overloaded"), Answer(text=("Here.",)))
    client = await make_client("retries: 1")
    answer = await client.chat.completions.create(model="clever", messages=HI)
    assert answer.choices[0].message.content == "Here."
