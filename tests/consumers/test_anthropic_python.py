"""The official Anthropic SDK, as applications and coding agents use it, against the gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import pytest

from tests.fakes import anthropic_words
from tests.fakes.answers import Answer
from tests.fakes.answers import Call as ToolCall
from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.edge import Edge, start_edge
from tests.fakes.scripted import DONE, USAGE, chunk
from tests.fakes.scripted_engine import Call, Script, ScriptedEngine, is_silent, refuses, streams
from tests.support.setpoint_server import OPERATOR_TOKEN, Gateway, Served

pytestmark = pytest.mark.req("RUN-1", "RUN-3", "RUN-6", "OPS-4")

HI: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
AGENT: dict[str, Any] = {
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=ab12;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be careful.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<reminder>Today is Friday.</reminder>"},
                {"type": "text", "text": "Fix it", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Read first.", "signature": "c2lnbmVk"},
                {"type": "text", "text": "I read."},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a"}},
                {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "text of a"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [{"type": "text", "text": "no ls"}],
                    "is_error": True,
                },
                {"type": "text", "text": "Go on", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ],
    "tools": [
        {"name": name, "description": name, "input_schema": {"type": "object", "properties": {}}}
        for name in ("Bash", "Read", "Edit", "Write", "Glob", "Grep", "Task", "TodoWrite")
    ],
    "metadata": {"user_id": "user_1_account_2_session_3f"},
    "thinking": {"type": "adaptive"},
    "max_tokens": 8000,
}
"""As Claude Code asks: cached blocks, thinking, calls and their results, many tools."""


def tools(*calls: tuple[str, str, list[str]]) -> Script:
    """A script that says something and calls tools, their arguments in pieces."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(chunk({"reasoning_content": "Where?"}))
        await call.piece("Let me look.")
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


MakeClient = Callable[..., Awaitable[anthropic.AsyncAnthropic]]


@pytest.fixture
async def make_client(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[MakeClient]:
    """`await make_client(config, endpoint=url, engine="openai")`: a client of a gateway in front of `engine`, or
    of what is at that endpoint."""
    opened: list[tuple[Edge, anthropic.AsyncAnthropic]] = []

    async def make(
        config: str = "", *, endpoint: str = "", kind: str = "openai", pool: str = "retries: 0"
    ) -> anthropic.AsyncAnthropic:
        where = f"endpoint: '{endpoint or engine.url}'"
        edge = await start_edge(
            tmp_path,
            f"{config}\npools: [{{id: main, engine: {kind}, {where}, {pool}}}]\n"
            f"models: [{{name: served, pool: main, upstream: {anthropic_words.MODEL}}}]\n",
        )
        client = anthropic.AsyncAnthropic(
            base_url=f"http://127.0.0.1:{edge.port}", api_key="unused", max_retries=0
        )
        opened.append((edge, client))
        return client

    yield make
    for edge, client in opened:
        await client.close()
        await edge.aclose()


def asked(engine: ScriptedEngine) -> Any:
    return msgspec.json.decode(engine.asked[-1].body)


# -- any backend --------------------------------------------------------------------------


def test_a_message_is_answered_whole_and_streamed(served: Served) -> None:
    with anthropic.Anthropic(base_url=served.gateway.url, api_key="unused") as client:
        message = client.messages.create(model=served.model, max_tokens=8, messages=HI)
        assert (message.type, message.role, message.model) == ("message", "assistant", served.model)
        assert message.id.startswith("msg_")
        (block,) = message.content
        assert block.type == "text"
        assert block.text
        assert message.stop_reason in ("end_turn", "max_tokens")
        assert message.usage.output_tokens > 0
        assert message._request_id
        with client.messages.stream(model=served.model, max_tokens=8, messages=HI) as stream:
            said = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert final.content[0].type == "text"
        assert final.content[0].text == said
        assert final.usage.output_tokens > 0
        cached = final.usage.cache_read_input_tokens or 0
        before = message.usage.cache_read_input_tokens or 0
        assert final.usage.input_tokens + cached == message.usage.input_tokens + before


def test_tokens_are_counted_by_the_backends_own_tokenizer(served: Served) -> None:
    with anthropic.Anthropic(base_url=served.gateway.url, api_key="unused") as client:
        raw = client.messages.with_raw_response.count_tokens(
            model=served.model, system="Be brief.", messages=HI, tools=[WEATHER]
        )
        assert raw.parse().input_tokens > 0
        assert raw.headers["x-setpoint-tokens-estimated"] == "false"


async def test_or_estimated_and_the_answer_says_so(make_client: MakeClient) -> None:
    client = await make_client()
    raw = await client.messages.with_raw_response.count_tokens(
        model="served", system="Be brief.", messages=HI, tools=[WEATHER]
    )
    assert (await raw.parse()).input_tokens > 0
    assert raw.headers["x-setpoint-tokens-estimated"] == "true"


@pytest.mark.real
def test_what_is_counted_is_what_the_answer_will_use(through_llama: Gateway) -> None:
    with anthropic.Anthropic(base_url=through_llama.url, api_key="unused") as client:
        told: Any = {"model": "smollm2", "system": "Be brief.", "messages": HI}
        counted = client.messages.count_tokens(**told).input_tokens
        usage = client.messages.create(**told, max_tokens=4).usage
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted


def test_the_gateways_keys_are_taken_in_both_headers_and_wrong_ones_refused(
    guarded: Gateway,
) -> None:
    for known in ({"api_key": OPERATOR_TOKEN}, {"auth_token": OPERATOR_TOKEN}):
        with anthropic.Anthropic(base_url=guarded.url, **known) as client:  # type: ignore[arg-type]
            client.messages.create(model="assistant", max_tokens=2, messages=HI)
    with (
        anthropic.Anthropic(base_url=guarded.url, api_key="wrong") as client,
        pytest.raises(anthropic.PermissionDeniedError) as caught,
    ):
        client.messages.create(model="assistant", max_tokens=2, messages=HI)
    assert caught.value.body["error"]["type"] == "permission_error"  # type: ignore[index]
    assert caught.value.request_id


# -- what the backend is asked ------------------------------------------------------------


async def test_an_agents_request_is_a_chat_that_any_backend_understands(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    client = await make_client()
    await client.messages.create(
        model="served",
        **AGENT,
        extra_headers={"anthropic-beta": "context-management-2025-06-27"},
        extra_body={"context_management": {"edits": []}, "temperature": 1},
    )
    chat = asked(engine)
    assert chat["messages"] == [
        {"role": "system", "content": "You are an agent.\nBe careful."},
        {"role": "user", "content": "<reminder>Today is Friday.</reminder>\nFix it"},
        {
            "role": "assistant",
            "content": "I read.",
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "Read", "arguments": '{"path":"a"}'},
                },
                {
                    "id": "toolu_2",
                    "type": "function",
                    "function": {"name": "Bash", "arguments": '{"command":"ls"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "text of a"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no ls"},
        {"role": "user", "content": "Go on"},
    ]
    assert [tool["function"]["name"] for tool in chat["tools"]][:2] == ["Bash", "Read"]
    assert (chat["max_completion_tokens"], chat["temperature"]) == (8000, 1)
    assert not {"thinking", "context_management", "system", "metadata"} & set(chat)


async def test_what_was_left_out_is_named(make_client: MakeClient, engine: ScriptedEngine) -> None:
    client = await make_client()
    raw = await client.messages.with_raw_response.create(
        model="served", max_tokens=5, messages=HI, service_tier="auto", speed="fast"
    )
    assert set(raw.headers["x-setpoint-dropped"].split(",")) == {"service_tier", "speed"}


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"container": "c1"}, "container"),
        ({"extra_body": {"mcp_servers": []}}, "mcp_servers"),
        ({"messages": [{"role": "user", "content": [{"type": "server_tool_use"}]}]}, "messages[0]"),
    ],
)
async def test_what_only_anthropic_can_do_is_refused_by_name(
    make_client: MakeClient, engine: ScriptedEngine, said: dict[str, Any], param: str
) -> None:
    client = await make_client()
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.create(**{"model": "served", "max_tokens": 5, "messages": HI, **said})
    error: Any = caught.value.body
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["param"].startswith(param)
    assert engine.asked == []


# -- what the client gets -----------------------------------------------------------------


async def test_tools_go_there_and_back(make_client: MakeClient, engine: ScriptedEngine) -> None:
    engine.plays(
        tools(
            ("call_1", "weather", ['{"city"', ':"Zürich"}']),
            ("call_2", "weather", ['{"city":"京都"}']),
        ),
        streams(("Rain.",)),
    )
    client = await make_client()
    told: Any = {"model": "served", "max_tokens": 50, "tools": [WEATHER]}
    async with client.messages.stream(messages=HI, **told) as stream:
        kinds = [event.type async for event in stream]
        first = await stream.get_final_message()
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 4
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [(c.id, c.name, c.input) for c in calls] == [
        ("call_1", "weather", {"city": "Zürich"}),
        ("call_2", "weather", {"city": "京都"}),
    ]
    results: Any = [{"type": "tool_result", "tool_use_id": c.id, "content": "rain"} for c in calls]
    turns: Any = [
        *HI,
        {"role": "assistant", "content": [b.model_dump() for b in first.content]},
        {"role": "user", "content": results},
    ]
    second = await client.messages.create(
        messages=turns, tool_choice={"type": "auto", "disable_parallel_tool_use": True}, **told
    )
    assert second.content[0].type == "text"
    assert second.content[0].text == "Rain."
    chat = asked(engine)
    assert [m["role"] for m in chat["messages"]] == ["user", "assistant", "tool", "tool"]
    assert (chat["tool_choice"], chat["parallel_tool_calls"]) == ("auto", False)


async def test_a_whole_message_says_what_its_stream_says(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    engine.plays(tools(("call_1", "weather", ['{"city":', '"Zürich"}'])))
    client = await make_client()
    told: Any = {"model": "served", "max_tokens": 50, "tools": [WEATHER], "messages": HI}
    whole = await client.messages.create(**told)
    async with client.messages.stream(**told) as stream:
        streamed = await stream.get_final_message()
    assert whole.model_dump(exclude={"id"}) == streamed.model_dump(
        exclude={"id": True, "content": {"__all__": {"parsed_output"}}}
    )


async def test_the_sequence_that_stopped_it_is_named_where_the_backend_names_it(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    async def stops(call: Call) -> None:
        await call.head()
        await call.piece("one ")
        end = chunk({}, finish="stop").replace(b'"delta"', b'"stop_reason":"STOP","delta"')
        await call.send(end + USAGE + DONE)

    engine.plays(stops)
    client = await make_client()
    told: Any = {"model": "served", "max_tokens": 50, "messages": HI}
    message = await client.messages.create(**told, stop_sequences=["STOP"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "STOP")
    assert asked(engine)["stop"] == ["STOP"]
    message = await client.messages.create(**told)  # the backend's own word for something else
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)


async def test_counts_leave_out_what_the_cache_knew(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    async def cached(call: Call) -> None:
        await call.head()
        await call.piece("a")
        usage = USAGE.replace(
            b'"prompt_tokens":3', b'"prompt_tokens":30,"prompt_tokens_details":{"cached_tokens":20}'
        )
        await call.send(chunk({}, finish="length") + usage + DONE)

    engine.plays(cached)
    client = await make_client()
    message = await client.messages.create(model="served", max_tokens=5, messages=HI)
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (10, 20)
    assert (message.usage.output_tokens, message.stop_reason) == (2, "max_tokens")


# -- errors -------------------------------------------------------------------------------


async def test_an_error_is_the_one_the_sdk_knows(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    client = await make_client()
    with pytest.raises(anthropic.NotFoundError) as missing:
        await client.messages.create(model="nobody", max_tokens=5, messages=HI)
    assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    engine.plays(refuses(429, b'{"error":{"message":"slow down"}}', "retry-after: 7\r\n"))
    with pytest.raises(anthropic.RateLimitError) as limited:
        await client.messages.create(model="served", max_tokens=5, messages=HI)
    assert limited.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
    assert limited.value.response.headers["retry-after"] == "7"
    assert limited.value.request_id == limited.value.response.headers["x-request-id"]
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.create(model="served", max_tokens=0, messages=HI)


async def test_a_stream_that_breaks_is_an_error_and_not_a_short_answer(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    async def breaks(call: Call) -> None:
        await call.head()
        await call.piece("Good ")

    engine.plays(breaks)
    client = await make_client()
    said = ""

    async def read() -> None:
        nonlocal said
        async with client.messages.stream(model="served", max_tokens=5, messages=HI) as stream:
            async for text in stream.text_stream:
                said += text

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert said == "Good "
    error: Any = caught.value.body
    assert error["error"]["code"] == "upstream_stream_broken"
    assert error["request_id"]


async def test_a_long_wait_is_filled_with_pings_and_leaving_frees_the_backend(
    make_client: MakeClient, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    client = await make_client("streams: {heartbeat: 50ms}")
    raw = client.messages.with_streaming_response.create(
        model="served", max_tokens=5, messages=HI, stream=True
    )
    async with asyncio.timeout(10), raw as response:
        lines = response.iter_lines()
        assert [await anext(lines), await anext(lines)] == ["event: ping", 'data: {"type": "ping"}']
    async with asyncio.timeout(10):
        await engine.left.wait()


# -- Anthropic behind it ------------------------------------------------------------------

CLAUDE = "retries: 0, api_key: sk-ant-1"
CLEVER = Answer(
    reasoning=("Where? ",),
    text=("Let me look.",),
    calls=(ToolCall("toolu_9", "Read", ('{"path": "a"}',)),),
    finish="tool_calls",
)


@pytest.fixture
async def claude() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic(CLEVER, cut=11) as fake:
        yield fake


@pytest.mark.req("RUN-2")
async def test_to_anthropic_itself_a_request_travels_as_it_came(
    make_client: MakeClient, claude: FakeAnthropic
) -> None:
    client = await make_client(endpoint=f"{claude.url}/v1/", kind="anthropic", pool=CLAUDE)
    raw = await client.messages.with_raw_response.create(
        model="served", **AGENT, extra_headers={"anthropic-beta": "b1,b2"}, service_tier="auto"
    )
    message = await raw.parse()
    got = claude.asked[-1]
    for name in ("system", "messages", "tools", "thinking", "metadata", "max_tokens"):
        assert got.body[name] == AGENT[name]
    assert got.headers["anthropic-beta"] == "b1,b2"
    assert got.body["model"] == anthropic_words.MODEL
    assert "x-setpoint-dropped" not in raw.headers
    thinking = message.content[0]
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("Where? ", anthropic_words.SIGNATURE)
    assert (message.model, message.stop_reason) == ("served", "tool_use")


@pytest.mark.req("RUN-2")
async def test_and_comes_back_as_anthropic_streams_it(
    make_client: MakeClient, claude: FakeAnthropic
) -> None:
    client = await make_client(endpoint=f"{claude.url}/v1/", kind="anthropic", pool=CLAUDE)
    async with client.messages.stream(model="served", **AGENT) as stream:
        through = await stream.get_final_message()
    async with (
        anthropic.AsyncAnthropic(base_url=claude.url, api_key="x") as direct,
        direct.messages.stream(model=anthropic_words.MODEL, **AGENT) as stream,
    ):
        there = await stream.get_final_message()
    assert [b.model_dump() for b in through.content] == [b.model_dump() for b in there.content]
    assert through.stop_reason == there.stop_reason
    assert through.usage.input_tokens == there.usage.input_tokens
