"""The official SDK accepts what the fake says: so the fake speaks as Gemini does."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from contracts.events import Usage
from tests.fakes import gemini_words
from tests.fakes.answers import Answer, Call, Refusal
from tests.fakes.gemini import FakeGemini
from tests.fakes.gemini_rules import camel, complaint

pytestmark = [
    pytest.mark.req("RUN-2"),
    # The SDK's own, of its HTTP client.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]
EVERYTHING = Answer(
    reasoning=("Hmm, ", "京都."),
    text=("It ", "is\u2028", "👩\u200d👧."),
    calls=(
        Call("call_1", "weather", ('{"city": ', '"Zürich"}')),
        Call("call_2", "clock", ("{}",)),
    ),
    finish="tool_calls",
    usage=Usage(prompt_tokens=40, completion_tokens=12, cached_tokens=30, reasoning_tokens=5),
)
MODEL = gemini_words.MODEL


@pytest.fixture
async def fake() -> AsyncIterator[FakeGemini]:
    async with FakeGemini(EVERYTHING, cut=7) as fake:
        yield fake


def connect(fake: FakeGemini, api_key: str = "k") -> Any:
    options = types.HttpOptions(base_url=fake.url)
    return genai.Client(api_key=api_key, http_options=options).aio


@pytest.fixture
async def client(fake: FakeGemini) -> AsyncIterator[Any]:
    client = connect(fake)
    yield client
    await client.aclose()


def as_said(parts: list[Any], last: types.GenerateContentResponse) -> None:
    """All of EVERYTHING."""
    thoughts = "".join(part.text or "" for part in parts if part.thought)
    text = "".join(part.text or "" for part in parts if not part.thought)
    assert (thoughts, text) == ("Hmm, 京都.", "It is\u2028👩\u200d👧.")
    calls = [part for part in parts if part.function_call]
    assert [(c.function_call.id, c.function_call.name, c.function_call.args) for c in calls] == [
        ("call_1", "weather", {"city": "Zürich"}),
        ("call_2", "clock", None),
    ]
    assert [c.thought_signature for c in calls] == [b"signed", None]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    usage = last.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (40, 30)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (7, 5)
    assert usage.total_token_count == 52


def parts_of(chunk: types.GenerateContentResponse) -> list[Any]:
    assert chunk.candidates is not None
    content = chunk.candidates[0].content
    return list((content.parts if content else None) or ())


async def test_the_sdk_reads_a_stream(client: Any, fake: FakeGemini) -> None:
    chunks = [
        chunk
        async for chunk in await client.models.generate_content_stream(model=MODEL, contents="Hi")
    ]
    as_said([part for chunk in chunks for part in parts_of(chunk)], chunks[-1])
    assert fake.asked[-1].path == f"/v1/models/{MODEL}:streamGenerateContent?alt=sse"
    assert fake.asked[-1].headers["x-goog-api-key"] == "k"


async def test_the_sdk_reads_a_whole_answer(client: Any) -> None:
    answer = await client.models.generate_content(model=MODEL, contents="Hi")
    as_said(parts_of(answer), answer)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(text=("a",)), types.FinishReason.STOP),
        (Answer(text=("a",), finish="length"), types.FinishReason.MAX_TOKENS),
        (Answer(refusal="No.", finish="content_filter"), types.FinishReason.SAFETY),
        (Answer(), types.FinishReason.STOP),
    ],
)
async def test_the_sdk_knows_the_reason(
    fake: FakeGemini, client: Any, answer: Answer, reason: types.FinishReason
) -> None:
    fake.answers(answer)
    *_, last = [
        chunk
        async for chunk in await client.models.generate_content_stream(model=MODEL, contents="Hi")
    ]
    assert last.candidates[0].finish_reason == reason


async def test_the_sdk_knows_a_prompt_that_was_blocked(fake: FakeGemini, client: Any) -> None:
    fake.answers(gemini_words.blocked("PROHIBITED_CONTENT"))
    (chunk,) = [
        chunk
        async for chunk in await client.models.generate_content_stream(model=MODEL, contents="Hi")
    ]
    assert chunk.candidates is None
    assert chunk.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


@pytest.mark.parametrize("status", sorted(gemini_words.STATUS))
async def test_the_sdk_knows_the_error(fake: FakeGemini, client: Any, status: str) -> None:
    fake.answers(gemini_words.refusal(status, "said so"))
    with pytest.raises(errors.APIError) as caught:
        await client.models.generate_content(model=MODEL, contents="Hi")
    assert (caught.value.status, caught.value.message) == (status, "said so")
    assert caught.value.code == gemini_words.STATUS[status]


async def test_the_sdk_knows_an_error_inside_a_stream(fake: FakeGemini, client: Any) -> None:
    """It comes as bare JSON, which the SDK reads as a piece that has nothing in it but an error."""
    fake.answers(gemini_words.broken_by(Answer(text=("a",)), "UNAVAILABLE", "Overloaded {"))

    async def read() -> list[str | None]:
        stream = await client.models.generate_content_stream(model=MODEL, contents="Hi")
        return [chunk.text async for chunk in stream]

    with pytest.raises(errors.APIError, match="Overloaded"):
        await read()


async def test_the_sdk_lists_models(fake: FakeGemini, client: Any) -> None:
    fake.models = ("gemini-a", "gemini-b")
    listed = [model.name async for model in await client.models.list()]
    assert listed == ["models/gemini-a", "models/gemini-b", "models/imagen"]


async def test_the_sdk_knows_a_wrong_key(fake: FakeGemini) -> None:
    client = connect(fake, "wrong")
    with pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
        await client.models.generate_content(model=MODEL, contents="Hi")
    await client.aclose()


async def test_the_sdk_embeds(client: Any) -> None:
    config = types.EmbedContentConfig(output_dimensionality=2)
    answer = await client.models.embed_content(
        model="gemini-embedding-001", contents=["ab", "abcd"], config=config
    )
    assert [vector.values for vector in answer.embeddings] == [[0.125, 0.125], [0.25, 0.25]]


async def test_the_sdk_may_ask_for_everything(fake: FakeGemini, client: Any) -> None:
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        candidate_count=1,
        max_output_tokens=64,
        stop_sequences=["END"],
        response_logprobs=True,
        logprobs=2,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        seed=7,
        response_mime_type="application/json",
        response_json_schema={"type": "object", "properties": {"a": {"type": "integer"}}},
        thinking_config=types.ThinkingConfig(
            include_thoughts=True, thinking_level=types.ThinkingLevel.LOW
        ),
        tools=[
            types.Tool(
                function_declarations=[
                    types.FunctionDeclaration(name="f", parameters_json_schema={"type": "object"})
                ]
            )
        ],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(
                mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
            )
        ),
    )
    contents = [
        types.Content(
            role="user",
            parts=[
                types.Part(text="Hi"),
                types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png"),
                types.Part.from_uri(file_uri="https://e.example/a.png", mime_type="image/png"),
            ],
        ),
        types.Content(
            role="model",
            parts=[
                types.Part(
                    function_call=types.FunctionCall(id="c1", name="f", args={"a": 1}),
                    thought_signature=b"signed",
                )
            ],
        ),
        types.Content(
            role="user",
            parts=[
                types.Part(
                    function_response=types.FunctionResponse(
                        id="c1", name="f", response={"output": "ok"}
                    )
                )
            ],
        ),
    ]
    await client.models.generate_content(model=MODEL, contents=contents, config=config)
    body = camel(fake.asked[-1].body)
    assert body["generationConfig"]["thinkingConfig"] == {
        "includeThoughts": True,
        "thinkingLevel": "LOW",
    }


GOOD: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
CALL = {"functionCall": {"name": "f", "args": {}}}
RESULT = {"functionResponse": {"name": "f", "response": {"output": "x"}}}


def tool(**schema: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]}


def config(**members: Any) -> dict[str, Any]:
    return {"generationConfig": members}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "Hi"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "at least one part"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "oneof field 'data'"),
        ({"contents": [{"role": "model", "parts": [CALL]}]}, "thought_signature"),
        ({"contents": [{"role": "user", "parts": [RESULT]}]}, "number of function response parts"),
        ({"user": "me"}, "Unknown name 'user'"),
        (config(logit_bias={}), "Unknown name 'logitBias'"),
        (config(temperature=3), "temperature"),
        (config(seed=2**31), "TYPE_INT32"),
        (config(logprobs=2), "response_logprobs"),
        (config(responseJsonSchema={"type": "object"}), "response_mime_type"),
        (config(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 5}), "only set one"),
        (tool(type="object", pattern="a"), "Unknown name 'pattern'"),
        (tool(type="object", properties={"a": {"const": 1}}), "Unknown name 'const'"),
        (tool(type="object", properties={"a": {"$ref": "#", "title": "x"}}), "beside it"),
        (tool(type="array"), "describe an object"),
    ],
)
def test_what_the_real_one_would_not_take_is_refused(changes: dict[str, Any], said: str) -> None:
    refused = complaint({"x-goog-api-key": "k"}, MODEL, {**GOOD, **changes})
    assert isinstance(refused, Refusal)
    assert said in refused.body.decode()
    assert complaint({"x-goog-api-key": "k"}, MODEL, GOOD) is None
    assert complaint({}, MODEL, GOOD) is not None


async def test_a_client_that_leaves_is_noticed(fake: FakeGemini, client: Any) -> None:
    fake.hold_after = 600
    stream = await client.models.generate_content_stream(model=MODEL, contents="Hi")
    await anext(stream)
    await stream.aclose()
    await client.aclose()
    await fake.left.wait()
