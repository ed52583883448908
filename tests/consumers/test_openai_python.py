"""The openai SDK for Python, as an application uses it: only `base_url` has changed."""

import base64
import json
import struct
from collections.abc import Callable

import openai
import pytest

from tests.support.setpoint_server import Gateway, Served

pytestmark = pytest.mark.req("OPS-4")

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    },
}
HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def cluster(sdk: Callable[[Gateway], openai.OpenAI], through_llmd: Gateway) -> openai.OpenAI:
    """A client of a gateway in front of a simulated llm-d, which has tools and JSON schemas."""
    return sdk(through_llmd)


@pytest.mark.req("RUN-1")
def test_models_are_listed_and_retrieved(client: openai.OpenAI, served: Served) -> None:
    names = [model.id for model in client.models.list()]
    assert served.model in names
    model = client.models.retrieve(served.model)
    assert (model.id, model.object) == (served.model, "model")
    assert model.created > 1_600_000_000


@pytest.mark.req("RUN-1")
def test_a_chat_is_answered_with_usage(client: openai.OpenAI, served: Served) -> None:
    answer = client.chat.completions.create(model=served.model, messages=HELLO, max_tokens=12)

    assert answer.id.startswith("chatcmpl-")
    assert answer.model == served.model
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_chat_streams(client: openai.OpenAI, served: Served, include_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    with client.chat.completions.create(
        model=served.model, messages=HELLO, max_tokens=12, stream=True, **options
    ) as stream:
        chunks = list(stream)

    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(usages) == include_usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


@pytest.mark.req("RUN-3")
def test_the_sdks_own_accumulator_understands_the_stream(
    client: openai.OpenAI, served: Served
) -> None:
    with client.chat.completions.stream(
        model=served.model,
        messages=HELLO,
        max_completion_tokens=300,
        stop=[".", "!", "?", "\n"],  # the accumulator refuses an answer that was cut at its limit
        stream_options={"include_usage": True},
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()

    assert final.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    assert final.usage is not None
    assert final.usage.completion_tokens > 0


@pytest.mark.req("RUN-1")
def test_a_text_completion_is_answered_whole_and_streamed(
    client: openai.OpenAI, served: Served
) -> None:
    ask = {"model": served.model, "prompt": "One, two, three,", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**ask)
    with client.completions.create(**ask, stream=True) as stream:
        streamed = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)

    assert whole.choices[0].text
    assert whole.choices[0].finish_reason in ("stop", "length")
    assert streamed
    if served.engine == "embedded":  # llama.cpp's own cache may change the second one
        assert streamed == whole.choices[0].text


def test_embeddings_come_as_numbers_and_as_base64(
    sdk: Callable[[Gateway], openai.OpenAI], embedded: Gateway
) -> None:
    embeddings = sdk(embedded).embeddings
    ask = {"model": "assistant", "input": ["a text", "another"], "dimensions": 16}
    answer = embeddings.create(**ask)  # the SDK asks for base64 by itself
    floats = embeddings.create(**ask, encoding_format="float")
    raw = embeddings.with_raw_response.create(**ask, encoding_format="base64")

    assert [len(entry.embedding) for entry in answer.data] == [16, 16]
    assert answer.data[0].embedding == pytest.approx(floats.data[0].embedding)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    packed = base64.b64decode(json.loads(raw.content)["data"][1]["embedding"])
    assert struct.unpack("<16f", packed) == pytest.approx(floats.data[1].embedding)


# -- tools and schemas ------------------------------------------------------------------


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_tool_is_called_with_arguments_that_fit_its_schema(
    cluster: openai.OpenAI, choice: object
) -> None:
    answer = cluster.chat.completions.create(
        model="sim-large", messages=HELLO, tools=[WEATHER], tool_choice=choice
    )

    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.id
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert arguments.keys() == {"city", "unit"}
    assert arguments["unit"] in ("celsius", "fahrenheit")


@pytest.mark.req("RUN-3")
def test_a_streamed_tool_call_names_itself_once_and_spells_its_arguments(
    cluster: openai.OpenAI,
) -> None:
    with cluster.chat.completions.create(
        model="sim-large", messages=HELLO, tools=[WEATHER], tool_choice="required", stream=True
    ) as stream:
        choices = [chunk.choices[0] for chunk in stream if chunk.choices]

    pieces = [piece for choice in choices for piece in choice.delta.tool_calls or []]
    assert len(pieces) > 2
    assert {piece.index for piece in pieces} == {0}
    assert pieces[0].id
    assert pieces[0].function is not None
    assert pieces[0].function.name == "get_weather"
    assert all(p.id is None and p.function and p.function.name is None for p in pieces[1:])
    assert json.loads("".join(p.function.arguments or "" for p in pieces if p.function))
    assert [c.finish_reason for c in choices if c.finish_reason] == ["tool_calls"]


@pytest.mark.req("RUN-3")
def test_the_sdks_accumulator_parses_a_streamed_tool_call(cluster: openai.OpenAI) -> None:
    with cluster.chat.completions.stream(
        model="sim-large", messages=HELLO, tools=[WEATHER], tool_choice="required"
    ) as stream:
        final = stream.get_final_completion()

    (call,) = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments).keys() == {"city", "unit"}


def test_a_tools_result_is_answered_in_words(cluster: openai.OpenAI) -> None:
    first = cluster.chat.completions.create(
        model="sim-large", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    (call,) = first.choices[0].message.tool_calls or []
    told = [
        *HELLO,
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"},
    ]
    second = cluster.chat.completions.create(
        model="sim-large", messages=told, tools=[WEATHER], max_tokens=12
    )
    assert second.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_is_kept(cluster: openai.OpenAI, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    answer = cluster.chat.completions.create(
        model="sim-large", messages=HELLO, response_format=wanted, stream=stream
    )
    if stream:
        with answer:
            text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        text = answer.choices[0].message.content

    person = json.loads(text)
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


# -- what the gateway adds --------------------------------------------------------------


@pytest.mark.req("RUN-3", "INT-3")
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_tells_how_it_came_to_be(
    client: openai.OpenAI, served: Served, stream: bool
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=served.model,
        messages=HELLO,
        max_tokens=4,
        stream=stream,
        extra_headers={"x-setpoint-intent": "batch"},
    )
    if stream:
        for _ in raw.parse():
            pass
    else:
        assert raw.parse()._request_id == raw.headers["x-request-id"]

    assert raw.headers["x-setpoint-intent"] == "batch"
    assert raw.headers["x-setpoint-decision"].startswith("intent=batch")
    assert raw.headers["x-setpoint-model"] == served.model
    assert raw.headers["x-setpoint-attempts"] == "1"
    assert float(raw.headers["x-setpoint-queue-ms"]) >= 0
    assert float(raw.headers["x-setpoint-overhead-ms"]) >= 0
    assert served.gateway.logged("request", request_id=raw.headers["x-request-id"], status=200)
