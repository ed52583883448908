"""The official OpenAI SDK's newer calls, `responses.create` and `.stream`, against the gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from pydantic import BaseModel

from tests.fakes.edge import Edge, start_edge
from tests.fakes.scripted import DONE, USAGE, chunk
from tests.fakes.scripted_engine import Call, Script, ScriptedEngine, is_silent, refuses, streams
from tests.support.setpoint_server import Served

pytestmark = pytest.mark.req("RUN-1", "RUN-3", "RUN-6", "OPS-4")

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


def tools(*calls: tuple[str, str, list[str]]) -> Script:
    """A script that thinks, says something and calls tools, their arguments in pieces."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(chunk({"reasoning_content": "Where?"}))
        await call.piece("Let me ")
        await call.piece("look.")
        for index, (call_id, name, pieces) in enumerate(calls):
            begun = {"index": index, "id": call_id, "type": "function"}
            await call.send(
                chunk({"tool_calls": [{**begun, "function": {"name": name, "arguments": ""}}]})
            )
            for piece in pieces:
                told = {"index": index, "function": {"arguments": piece}}
                await call.send(chunk({"tool_calls": [told]}))
        await call.send(chunk({}, finish="tool_calls") + USAGE + DONE)

    return play


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    await engine.start()
    yield engine
    await engine.aclose()


MakeClient = Callable[..., Awaitable[openai.AsyncOpenAI]]


@pytest.fixture
async def make_client(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[MakeClient]:
    """`await make_client(config)`: a client of a gateway in front of `engine`."""
    opened: list[tuple[Edge, openai.AsyncOpenAI]] = []

    async def make(config: str = "") -> openai.AsyncOpenAI:
        edge = await start_edge(
            tmp_path,
            f"{config}\npools: [{{id: main, engine: openai, endpoint: '{engine.url}', retries: 0}}]"
            "\nmodels: [{name: served, pool: main, upstream: real}]\n",
        )
        base_url = f"http://127.0.0.1:{edge.port}/v1"
        client = openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0)
        opened.append((edge, client))
        return client

    yield make
    for edge, client in opened:
        await client.close()
        await edge.aclose()


def asked(engine: ScriptedEngine) -> Any:
    return msgspec.json.decode(engine.asked[-1].body)


def test_a_response_is_answered_whole_and_streamed(served: Served) -> None:
    with openai.OpenAI(base_url=served.gateway.v1, api_key="unused") as client:
        told: Any = {"model": served.model, "input": "Say hi", "max_output_tokens": 8}
        whole = client.responses.create(**told, metadata={"a": "b"})
        assert whole.output_text
        assert whole.status in ("completed", "incomplete")
        assert whole.usage is not None
        assert whole.usage.output_tokens > 0
        assert (whole.metadata, whole.store, whole.max_output_tokens) == ({"a": "b"}, False, 8)
        with client.responses.stream(**told) as stream:
            events = list(stream)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        last = events[-1]
        assert last.type in ("response.completed", "response.incomplete")
        assert last.response.output_text == said
        assert last.response.usage is not None
        assert last.response.usage.input_tokens == whole.usage.input_tokens


async def test_the_events_come_in_openais_order(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    engine.plays(tools(("call_1", "weather", ['{"city"', ':"Zürich"}'])))
    client = await make_client()
    stream = await client.responses.create(model="served", input="Hi", tools=[WEATHER], stream=True)
    kinds = [event.type.removeprefix("response.") async for event in stream]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


async def test_tools_go_there_and_back(make_client: MakeClient, engine: ScriptedEngine) -> None:
    engine.plays(
        tools(
            ("call_1", "weather", ['{"city":"Zürich"}']),
            ("call_2", "weather", ['{"city":"京都"}']),
        ),
        streams(("Rain.",)),
    )
    client = await make_client()
    told: Any = {"model": "served", "tools": [WEATHER], "instructions": "Be brief."}
    async with client.responses.stream(input="Hi", **told) as stream:
        first = await stream.get_final_response()
    assert [item.type for item in first.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(c.call_id, c.arguments) for c in calls] == [
        ("call_1", '{"city":"Zürich"}'),
        ("call_2", '{"city":"京都"}'),
    ]
    turns: Any = [
        {"role": "user", "content": "Hi"},
        *(item.model_dump(exclude={"parsed_arguments"}) for item in first.output),
        *({"type": "function_call_output", "call_id": c.call_id, "output": "rain"} for c in calls),
    ]
    second = await client.responses.create(
        input=turns,
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        **told,
    )
    assert second.output_text == "Rain."
    assert second.reasoning is not None
    assert second.reasoning.effort == "low"
    chat = asked(engine)
    roles = [message["role"] for message in chat["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert chat["messages"][2]["content"] == "Let me look."
    assert [c["id"] for c in chat["messages"][2]["tool_calls"]] == ["call_1", "call_2"]
    assert chat["tools"][0]["function"]["name"] == "weather"
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert (chat["parallel_tool_calls"], chat["reasoning_effort"]) == (False, "low")


async def test_structured_output_is_parsed_by_the_sdk(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    class City(BaseModel):
        name: str

    engine.plays(streams(('{"name":', '"Zürich"}')))
    client = await make_client()
    response = await client.responses.parse(model="served", input="Where?", text_format=City)
    assert response.output_parsed == City(name="Zürich")
    assert asked(engine)["response_format"]["json_schema"]["schema"]["required"] == ["name"]


async def test_an_answer_that_was_cut_off_is_incomplete(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    async def cut(call: Call) -> None:
        await call.head()
        await call.piece("one")
        await call.send(chunk({}, finish="length") + USAGE + DONE)

    engine.plays(cut)
    client = await make_client()
    response = await client.responses.create(model="served", input="Hi")
    assert (response.status, response.output_text) == ("incomplete", "one")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": []}, "input"),
    ],
)
async def test_what_needs_openais_own_servers_is_refused_by_name(
    make_client: MakeClient, engine: ScriptedEngine, said: dict[str, Any], param: str
) -> None:
    client = await make_client()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(**{"model": "served", "input": "Hi", **said})
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)
    assert engine.asked == []


async def test_what_was_left_out_is_named(make_client: MakeClient, engine: ScriptedEngine) -> None:
    client = await make_client()
    raw = await client.responses.with_raw_response.create(
        model="served",
        input="Hi",
        include=["reasoning.encrypted_content"],
        truncation="auto",
        reasoning={"summary": "auto"},
        store=False,
    )
    dropped = set(raw.headers["x-setpoint-dropped"].split(","))
    assert dropped == {"include", "truncation", "reasoning.summary"}


async def test_an_error_is_openais(make_client: MakeClient, engine: ScriptedEngine) -> None:
    client = await make_client()
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="nobody", input="Hi")
    engine.plays(refuses(429, b'{"error":{"message":"slow down"}}'))
    with pytest.raises(openai.RateLimitError):
        await client.responses.create(model="served", input="Hi", stream=True)


async def test_a_stream_that_breaks_is_an_error_and_not_a_short_answer(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    async def breaks(call: Call) -> None:
        await call.head()
        await call.piece("Good ")

    engine.plays(breaks)
    client = await make_client()
    stream = await client.responses.create(model="served", input="Hi", stream=True)
    said = ""

    async def read() -> None:
        nonlocal said
        async for event in stream:
            said += event.delta if event.type == "response.output_text.delta" else ""

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert said == "Good "
    assert caught.value.code == "upstream_stream_broken"


async def test_a_long_wait_is_filled_and_leaving_frees_the_backend(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    client = await make_client("streams: {heartbeat: 50ms}")
    raw = client.responses.with_streaming_response.create(model="served", input="Hi", stream=True)
    async with asyncio.timeout(10), raw as response:
        assert await anext(response.iter_lines()) == ": ping"
    async with asyncio.timeout(10):
        await engine.left.wait()
