"""The official SDK accepts what the fake says: so the fake speaks as Ollama does."""

from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest

from contracts.events import Usage
from tests.fakes import ollama_words
from tests.fakes.answers import Answer, Call, Refusal
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_rules import complaint

pytestmark = pytest.mark.req("RUN-2")
EVERYTHING = Answer(
    reasoning=("Hmm, ", "京都."),
    text=("It ", "is\u2028", "👩\u200d👧."),
    calls=(
        Call("call_1", "weather", ('{"city": ', '"Zürich"}')),
        Call("call_2", "clock", ("{}",)),
    ),
    finish="tool_calls",
    usage=Usage(prompt_tokens=40, completion_tokens=12),
)
MODEL = ollama_words.MODEL
HI: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(EVERYTHING, cut=7) as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeOllama) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=fake.url) as client:
        yield client


def as_said(messages: list[ollama.Message], last: ollama.ChatResponse) -> None:
    """All of EVERYTHING."""
    assert "".join(m.thinking or "" for m in messages) == "Hmm, 京都."
    assert "".join(m.content or "" for m in messages) == "It is\u2028👩\u200d👧."
    calls = [call.function for m in messages for call in m.tool_calls or ()]
    assert [(c.name, c.arguments) for c in calls] == [
        ("weather", {"city": "Zürich"}),
        ("clock", {}),
    ]
    assert (last.done, last.done_reason) == (True, "stop")
    assert (last.prompt_eval_count, last.eval_count) == (40, 12)
    assert last.total_duration is not None


async def test_the_sdk_reads_a_stream(client: ollama.AsyncClient) -> None:
    chunks = [c async for c in await client.chat(model=MODEL, messages=HI, stream=True)]
    as_said([chunk.message for chunk in chunks], chunks[-1])
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_the_sdk_reads_a_whole_answer(client: ollama.AsyncClient) -> None:
    answer = await client.chat(model=MODEL, messages=HI)
    as_said([answer.message], answer)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_sdk_reads_a_completion(
    fake: FakeOllama, client: ollama.AsyncClient, stream: bool
) -> None:
    fake.answers(Answer(text=("a", "b"), finish="length"))
    answer: Any = await client.generate(model=MODEL, prompt="Hi", stream=stream)
    chunks = [chunk async for chunk in answer] if stream else [answer]
    assert "".join(chunk.response for chunk in chunks) == "ab"
    assert (chunks[-1].done_reason, chunks[-1].eval_count) == ("length", 4)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_sdk_knows_the_error(
    fake: FakeOllama, client: ollama.AsyncClient, status: int, stream: bool
) -> None:
    fake.answers(ollama_words.refusal(status, "said so"))

    async def ask() -> None:
        answer: Any = await client.chat(model=MODEL, messages=HI, stream=stream)
        if stream:
            async for _ in answer:
                pass

    with pytest.raises(ollama.ResponseError) as caught:
        await ask()
    assert (caught.value.status_code, caught.value.error) == (status, "said so")


async def test_the_sdk_knows_an_error_inside_a_stream(
    fake: FakeOllama, client: ollama.AsyncClient
) -> None:
    fake.answers(ollama_words.broken_by(Answer(text=("a",)), "CUDA error"))

    async def read() -> None:
        async for _ in await client.chat(model=MODEL, messages=HI, stream=True):
            pass

    with pytest.raises(ollama.ResponseError, match="CUDA error"):
        await read()


async def test_the_sdk_lists_models(fake: FakeOllama, client: ollama.AsyncClient) -> None:
    fake.models = ("a:latest", "b:7b")
    assert [model.model for model in (await client.list()).models] == ["a:latest", "b:7b"]


async def test_the_sdk_embeds(client: ollama.AsyncClient) -> None:
    answer = await client.embed(model=MODEL, input=["ab", "abcd"], dimensions=2, truncate=False)
    assert answer.embeddings == [[0.125, 0.125], [0.25, 0.25]]
    assert answer.prompt_eval_count == 4


async def test_the_sdk_may_ask_for_everything(fake: FakeOllama, client: ollama.AsyncClient) -> None:
    await client.chat(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi", "images": ["iVBORw=="]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "ok", "tool_name": "f"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        format={"type": "object"},
        options={"temperature": 0.5, "num_predict": 5, "seed": 7, "stop": ["END"]},
        think="low",
        logprobs=True,
        top_logprobs=2,
        keep_alive="5m",
    )
    assert fake.asked[-1].body["think"] == "low"


@pytest.mark.parametrize(
    ("path", "changes", "said"),
    [
        ("/api/chat", {"model": "nope"}, "model 'nope' not found"),
        ("/api/chat", {"tool_choice": "required"}, "tool_choice would be passed over"),
        ("/api/chat", {"options": {"n": 1}}, "option n would be passed over"),
        ("/api/chat", {"options": {"seed": "x"}}, "another type"),
        ("/api/chat", {"messages": [{"role": "developer", "content": "x"}]}, "invalid role"),
        ("/api/chat", {"messages": [{"role": "user", "content": []}]}, "of type string"),
        ("/api/chat", {"messages": [{"role": "user", "images": ["data:x"]}]}, "base64"),
        ("/api/chat", {"think": "xhigh"}, "invalid think value"),
        ("/api/chat", {"format": "xml"}, "invalid JSON schema"),
        ("/api/generate", {"messages": None, "prompt": ["a"]}, "messages would be passed over"),
    ],
)
def test_what_the_real_one_would_not_take_is_refused(
    path: str, changes: dict[str, Any], said: str
) -> None:
    refused = complaint(path, {"model": MODEL, "messages": HI, **changes}, (MODEL,))
    assert isinstance(refused, Refusal)
    assert said in refused.body.decode()
    assert complaint("/api/chat", {"model": MODEL, "messages": HI}, (MODEL,)) is None


async def test_a_client_that_leaves_is_noticed(fake: FakeOllama) -> None:
    fake.hold_after = 300
    async with ollama.AsyncClient(host=fake.url) as client:
        stream = await client.chat(model=MODEL, messages=HI, stream=True)
        await anext(aiter(stream))
    await fake.left.wait()
