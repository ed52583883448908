"""The OpenAI SDK, through the gateway, to Gemini: what an application does, and what it gets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from contracts.events import Usage
from tests.fakes import gemini_words
from tests.fakes.answers import Answer, Call, Refusal
from tests.fakes.edge import Edge, start_edge
from tests.fakes.gemini import FakeGemini

MakeClient = Callable[..., Awaitable[openai.AsyncOpenAI]]
pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "RUN-6", "OPS-4")

HI: list[Any] = [{"role": "user", "content": "Hi"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "minLength": 1}},
            },
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
    usage=Usage(prompt_tokens=40, completion_tokens=12, cached_tokens=30, reasoning_tokens=5),
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeGemini]:
    async with FakeGemini(cut=11) as fake:
        yield fake


@pytest.fixture
async def make_client(tmp_path: Path, fake: FakeGemini) -> AsyncIterator[MakeClient]:
    """`await make_client("unsupported: drop")`: a client of a gateway whose pool has these members."""
    opened: list[tuple[Edge, openai.AsyncOpenAI]] = []

    async def make(pool: str = "retries: 0", key: str = "key-1") -> openai.AsyncOpenAI:
        edge = await start_edge(
            tmp_path,
            f"pools: [{{id: google, engine: gemini, endpoint: '{fake.url}/v1/', "
            f"api_key: {key}, {pool}}}]\n"
            f"models: [{{name: clever, pool: google, upstream: {gemini_words.MODEL}}}]\n",
        )
        base_url = f"http://127.0.0.1:{edge.port}/v1"
        client = openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0)
        opened.append((edge, client))
        return client

    yield make
    for edge, client in opened:
        await client.close()
        await edge.aclose()


async def test_a_chat_is_answered(make_client: MakeClient, fake: FakeGemini) -> None:
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
    assert answer.service_tier == "default"
    asked = fake.asked[-1]
    assert asked.headers["x-goog-api-key"] == "key-1"
    assert "authorization" not in asked.headers
    assert asked.body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert asked.body["generationConfig"] == {"temperature": 0.2, "maxOutputTokens": 50}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_with_tools_goes_there_and_back(
    make_client: MakeClient, fake: FakeGemini, streamed: bool
) -> None:
    fake.answers(CALLS, Answer(text=("Rain.",)))
    client = await make_client()
    asked: Any = {"model": "clever", "messages": HI, "tools": TOOLS, "reasoning_effort": "low"}
    if streamed:
        async with client.chat.completions.stream(**asked) as stream:
            first: Any = await stream.get_final_completion()
    else:
        first = await client.chat.completions.create(**asked)
    message = first.choices[0].message
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
        **{**asked, "messages": [*HI, message.model_dump(exclude_none=True), *results]}
    )
    assert second.choices[0].message.content == "Rain."
    _, model, user = fake.asked[-1].body["contents"]
    said, ending, *called = model["parts"]
    assert said == {"text": "Let me look."}
    assert ending == {"text": "", "thoughtSignature": gemini_words.SIGNATURE}
    assert [part.get("thoughtSignature") for part in called] == [gemini_words.SIGNATURE, None]
    assert [part["functionResponse"]["id"] for part in user["parts"]] == ["call_1", "call_2"]


async def test_a_stream_is_what_the_sdk_expects(make_client: MakeClient, fake: FakeGemini) -> None:
    fake.answers(CALLS)
    client = await make_client()
    async with client.chat.completions.stream(
        model="clever", messages=HI, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "Let me look."
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (40, 12)
    assert final.usage.prompt_tokens_details is not None
    assert final.usage.prompt_tokens_details.cached_tokens == 30
    assert final.usage.completion_tokens_details is not None
    assert final.usage.completion_tokens_details.reasoning_tokens == 5


async def test_several_answers_come_side_by_side(make_client: MakeClient, fake: FakeGemini) -> None:
    one, two = Answer(text=("a", "b")), Answer(text=("c",), finish="length")
    fake.answers(gemini_words.stream(one) + gemini_words.stream(two, index=1))
    client = await make_client()
    answer = await client.chat.completions.create(model="clever", messages=HI, n=2)
    told = [(c.index, c.message.content, c.finish_reason) for c in answer.choices]
    assert told == [(0, "ab", "stop"), (1, "c", "length")]
    assert fake.asked[-1].body["generationConfig"] == {"candidateCount": 2}


async def test_a_blocked_prompt_is_a_refusal(make_client: MakeClient, fake: FakeGemini) -> None:
    fake.answers(gemini_words.blocked("PROHIBITED_CONTENT"))
    client = await make_client()
    answer = await client.chat.completions.create(model="clever", messages=HI)
    assert answer.choices[0].finish_reason == "content_filter"
    assert answer.choices[0].message.refusal == "the prompt was blocked: PROHIBITED_CONTENT"


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_texts_are_embedded(make_client: MakeClient, encoding: Any) -> None:
    client = await make_client()
    asked: Any = {"model": "clever", "input": ["ab", "abcd"], "dimensions": 2}
    if encoding is not None:
        asked["encoding_format"] = encoding
    answer = await client.embeddings.create(**asked)
    if encoding != "base64":
        assert [entry.embedding for entry in answer.data] == [[0.125, 0.125], [0.25, 0.25]]
    assert answer.usage.prompt_tokens > 0


@pytest.mark.parametrize(
    ("refusal", "raised", "code"),
    [
        (
            gemini_words.refusal("INVALID_ARGUMENT", "contents: bad"),
            openai.BadRequestError,
            "invalid_request",
        ),
        (
            gemini_words.refusal(
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (5).",
            ),
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        (
            gemini_words.exhausted("GenerateRequestsPerMinute", delay="3s"),
            openai.RateLimitError,
            "upstream_rate_limited",
        ),
        (
            gemini_words.refusal("UNAVAILABLE", "The model is overloaded."),
            openai.InternalServerError,
            "upstream_unavailable",
        ),
        (gemini_words.wrong_key(), openai.InternalServerError, "upstream_auth"),
    ],
)
async def test_an_error_is_the_one_the_sdk_knows(
    make_client: MakeClient,
    fake: FakeGemini,
    refusal: Refusal,
    raised: type[openai.APIStatusError],
    code: str,
) -> None:
    fake.answers(refusal)
    client = await make_client()
    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model="clever", messages=HI)
    assert caught.value.code == code
    if caught.value.status_code == 429:
        assert caught.value.response.headers["retry-after"] == "3"


async def test_an_overload_inside_a_stream_before_the_first_word_is_tried_again(
    make_client: MakeClient, fake: FakeGemini
) -> None:
    overloaded = gemini_words.broken_by(Answer(), "UNAVAILABLE", "The model is overloaded.")
    fake.answers(overloaded, Answer(text=("Here.",)))
    client = await make_client("retries: 1")
    answer = await client.chat.completions.create(model="clever", messages=HI)
    assert answer.choices[0].message.content == "Here."
