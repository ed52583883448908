"""The OpenAI SDK, through the gateway, to Triton: its generate extension, and its OpenAI frontend."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import openai
import pytest

from contracts.events import Usage
from tests.fakes import triton_words
from tests.fakes.answers import Answer, Call
from tests.fakes.openai_client import HI, TOOLS, Client, openai_client
from tests.fakes.triton import FakeTriton
from tests.fakes.triton_openai import FakeTritonOpenAI

Connect = Callable[..., Awaitable[Client]]
pytestmark = pytest.mark.req("RUN-1", "RUN-2", "RUN-3", "OPS-4")
COUNTED = Usage(prompt_tokens=12, completion_tokens=6)


@pytest.fixture
async def fake() -> AsyncIterator[FakeTriton]:
    async with FakeTriton(cut=11) as fake:
        yield fake


@pytest.fixture
async def connect(tmp_path: Path, fake: FakeTriton) -> AsyncIterator[Connect]:
    """`await connect(model="upstream: llm, template: chatml")`."""
    async with AsyncExitStack() as stack:

        async def make(
            more: str = "retries: 0", model: str = "upstream: llm, template: chatml"
        ) -> Client:
            pool = f"engine: triton, endpoint: '{fake.url}', {more}"
            return await stack.enter_async_context(openai_client(tmp_path, pool, model))

        yield make


async def test_a_chat_is_written_by_the_models_template(connect: Connect, fake: FakeTriton) -> None:
    fake.answers(Answer(text=("Grüezi ", "京都 👩\u200d👧")))
    client = await connect()
    said = await client.said(
        messages=[{"role": "system", "content": "Be brief."}, *HI], max_tokens=9, temperature=0.5
    )
    assert said == ("Grüezi 京都 👩\u200d👧", "stop")
    body = fake.asked[-1].body
    assert body["text_input"] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (9, 0.5, True)


async def test_a_template_can_be_written_out(connect: Connect, fake: FakeTriton) -> None:
    model = "upstream: llm, template: {user: '[INST] {text} [/INST]', assistant: '{text}</s>', reply: ''}"
    client = await connect(model=model)
    await client.said()
    assert fake.asked[-1].body["text_input"] == "[INST] Hi [/INST]"


async def test_without_a_template_chats_are_refused_and_texts_are_not(
    connect: Connect, fake: FakeTriton
) -> None:
    client = await connect(model="upstream: llm")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.said()
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")
    assert fake.asked == []
    fake.answers(Answer(text=("more",)))
    answer = await client.completions.create(model="served", prompt="Once")
    assert answer.choices[0].text == "more"
    assert fake.asked[-1].body["text_input"] == "Once"


async def test_an_answer_ends_at_a_stop_sequence(connect: Connect, fake: FakeTriton) -> None:
    fake.answers(Answer(text=("up to here", "E", "ND and on")))
    client = await connect()
    assert await client.said(stop="END") == ("up to here", "stop")
    assert "stop" not in fake.asked[-1].body


@pytest.mark.parametrize("finish", ["stop", "length"])
async def test_what_a_backend_tells_of_its_end_is_passed_on(
    connect: Connect, fake: FakeTriton, finish: str
) -> None:
    fake.counted = True
    fake.answers(Answer(text=("a ", "b"), finish=finish, usage=COUNTED))
    client = await connect()
    answer = await client.chat.completions.create(model="served", messages=HI)
    assert answer.choices[0].finish_reason == finish
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 6)


async def test_as_many_responses_as_tokens_were_asked_for_are_a_cut_off_answer(
    connect: Connect, fake: FakeTriton
) -> None:
    fake.answers(Answer(text=("a ", "b ", "c ")))
    client = await connect()
    assert await client.said(max_tokens=3) == ("a b c ", "length")
    assert await client.said(max_tokens=4) == ("a b c ", "stop")


@pytest.mark.parametrize(
    ("answer", "raised", "code"),
    [
        (triton_words.model_error("boom"), openai.InternalServerError, "upstream_error"),
        (
            triton_words.model_error("Prompt length (9) exceeds maximum input length (5)"),
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        (
            triton_words.refusal(500, "Unable to parse 'data': attempt to access JSON non-boolean"),
            openai.BadRequestError,
            "invalid_request",
        ),
        (triton_words.broken_by(Answer(text=("a",))), openai.APIError, "upstream_error"),
        (
            triton_words.refusal(503, "[request id: 4] Exceeds maximum queue size"),
            openai.InternalServerError,
            "upstream_unavailable",
        ),
    ],
)
async def test_an_error_is_the_one_the_sdk_knows(
    connect: Connect,
    fake: FakeTriton,
    answer: object,
    raised: type[openai.APIError],
    code: str,
) -> None:
    fake.answers(answer)  # type: ignore[arg-type]
    client = await connect()
    with pytest.raises(raised) as caught:
        await client.said()
    assert caught.value.code == code


async def test_a_version_of_a_model_can_be_named(connect: Connect, fake: FakeTriton) -> None:
    client = await connect(model="upstream: llm/versions/2, template: chatml")
    await client.said()
    assert fake.asked[-1].path == "/v2/models/llm/versions/2/generate_stream"


async def test_its_models_are_found_by_its_index(tmp_path: Path, fake: FakeTriton) -> None:
    async with openai_client(tmp_path, f"engine: triton, endpoint: '{fake.url}'") as client:
        assert [model.id async for model in client.models.list()] == ["llm"]
        (endpoint,) = client.edge.gateway.pools["p"].endpoints
        assert endpoint.state.version == "2.51.0"


async def test_one_whose_models_load_is_not_ready(connect: Connect, fake: FakeTriton) -> None:
    fake.ready = False
    client = await connect()
    with pytest.raises(openai.InternalServerError) as caught:
        await client.said()
    assert caught.value.code == "no_ready_backend"


# -- the OpenAI frontend ----------------------------------------------------------------------


@pytest.fixture
async def frontend() -> AsyncIterator[FakeTritonOpenAI]:
    async with FakeTritonOpenAI(cut=11) as fake:
        yield fake


@pytest.fixture
async def client(tmp_path: Path, frontend: FakeTritonOpenAI) -> AsyncIterator[Client]:
    pool = f"engine: triton_openai, endpoint: '{frontend.url}', retries: 0"
    async with openai_client(tmp_path, pool, "upstream: llm") as client:
        yield client


async def test_the_frontend_answers_a_chat(client: Client, frontend: FakeTritonOpenAI) -> None:
    frontend.answers(Answer(text=("Good ", "day"), usage=COUNTED))
    answer = await client.chat.completions.create(
        model="served", messages=HI, n=1, parallel_tool_calls=True, logit_bias={}, max_tokens=50
    )
    assert answer.choices[0].message.content == "Good day"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert not {"n", "parallel_tool_calls", "logit_bias"} & set(frontend.asked[-1].body)


async def test_an_answer_as_long_as_its_limit_is_cut_off_whatever_the_frontend_says(
    client: Client, frontend: FakeTritonOpenAI
) -> None:
    frontend.answers(Answer(text=("Good ", "day"), usage=COUNTED))
    assert await client.said(max_tokens=6) == ("Good day", "length")
    assert await client.said(max_tokens=7) == ("Good day", "stop")


async def test_the_frontends_calls_arrive(client: Client, frontend: FakeTritonOpenAI) -> None:
    calls = (Call("cmpl-1", "weather", ('{"city"', ': "A"}')),)
    frontend.answers(Answer(calls=calls, finish="tool_calls"))
    named = {"type": "function", "function": {"name": "weather"}}
    answer = await client.chat.completions.create(
        model="served",
        messages=HI,
        tools=TOOLS,
        tool_choice=named,  # type: ignore[arg-type]
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert (call.id, call.function.arguments) == ("cmpl-1", '{"city": "A"}')  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"parallel_tool_calls": False, "tools": TOOLS}, "parallel_tool_calls"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"n": 2}, "n"),
    ],
)
async def test_what_the_frontend_cannot_do_is_refused_by_name(
    client: Client, frontend: FakeTritonOpenAI, asked: dict, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.said(**asked)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
    assert frontend.asked == []


async def test_its_detail_is_what_the_client_reads(
    client: Client, frontend: FakeTritonOpenAI
) -> None:
    frontend.answers(triton_words.detail(400, "prompt must be non-empty"))
    with pytest.raises(openai.BadRequestError, match="prompt must be non-empty"):
        await client.said()
