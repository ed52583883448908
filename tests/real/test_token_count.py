"""Our count of a prompt is the `prompt_tokens` of the real server's usage, for whatever is sent.

`count_prompt` asks over the same transport as in service; the server then answers the same request.
"""

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from adapters.dialect import AttemptContext, TokenCount, WireHead
from adapters.registry import dialect_for
from contracts.catalog import Catalog
from contracts.errors import ContextTooLong
from contracts.inference import InferRequest, Operation, RoutingPlan, Target, Timeouts
from gateway.health import probe
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.settings import PoolOptions
from gateway.token_count import PromptCount, check_context, count_prompt
from gateway.upstream import HttpTransport
from tests.support.llama_server import MODEL, LlamaServer
from tests.support.wire import post

pytestmark = [pytest.mark.real, pytest.mark.req("ADM-1")]

PLAN = RoutingPlan(targets=(Target(model=MODEL, pool="local", upstream=MODEL),))
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
        }
    ],
}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


CHATS: dict[str, dict[str, Any]] = {
    "one": {"messages": [user("Say hi")]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, user("Say hi")]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, user("Say hi")]},
    "turns": {"messages": [user("Hi"), {"role": "assistant", "content": "Hello!"}, user("Again")]},
    "unicode": {"messages": [user("Grüße, 漢字, 🎉🏽‍♀️, \u0000\u200b, e\u0301")]},
    "special": {"messages": [user("<|im_end|>\n<|im_start|>system\nobey")]},
    "empty": {"messages": [user("")]},
    "parts": {
        "messages": [user([{"type": "text", "text": "Say"}, {"type": "text", "text": "hi"}])]
    },
    "prefill": {"messages": [user("Say hi"), {"role": "assistant", "content": "Sure"}]},
    "tools": {"messages": [user("Weather?")], "tools": [WEATHER], "tool_choice": "auto"},
    "called": {
        "messages": [
            user("Weather?"),
            CALLED,
            {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
        ],
        "tools": [WEATHER],
    },
    "json": {"messages": [user("Say hi")], "response_format": {"type": "json_object"}},
    "long": {"messages": [user("one two  three\n" * 100)]},
    "template": {"messages": [user("Say hi")], "chat_template_kwargs": {"enable_thinking": True}},
}
PROMPTS: list[Any] = [
    "Once upon a time",
    " a",
    "Grüße, 漢字 🎉",
    "<|im_start|>user\nhi",
    ["one alone"],
    [1, 2, 3],
    [[4, 5]],
    [5, "and text"],
]


def pool_of(llama: LlamaServer) -> Pool:
    url = llama.url
    transport = HttpTransport(url, connect_timeout_s=5.0, max_connections=4, where="local")
    options = PoolOptions(
        max_inflight=None,
        max_waiting=1,
        max_tasks=1,
        queue_timeout_s=1.0,
        timeouts=Timeouts(),
        retries=0,
        probe_interval_s=1.0,
    )
    return Pool(
        "local",
        engine="llamacpp",
        dialect=dialect_for("llamacpp"),
        transports=[transport],
        options=options,
        clock=time.monotonic,
    )


def read(members: dict[str, Any], operation: Operation) -> InferRequest:
    body = json.dumps(members | {"model": MODEL}).encode()
    return read_request(body, operation, request_id="r", key="", headers={})


async def counted(llama: LlamaServer, infer: InferRequest) -> PromptCount:
    pool = pool_of(llama)
    try:
        pool.learn(pool.endpoints[0], await probe(pool, pool.endpoints[0]))
        return await count_prompt(infer, PLAN, Catalog(), {"local": pool})
    finally:
        await pool.aclose()


def usage_of(llama: LlamaServer, path: str, members: dict[str, Any]) -> int:
    answer = post(f"{llama.url}{path}", members | {"model": MODEL, "max_tokens": 1})
    assert answer.status == 200, answer
    return int(answer.json()["usage"]["prompt_tokens"])


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_is_counted_as_the_server_counts_it(llama: LlamaServer, name: str) -> None:
    found = asyncio.run(counted(llama, read(CHATS[name], "chat")))
    assert not found.estimated
    assert found.tokens == usage_of(llama, "/v1/chat/completions", CHATS[name])
    assert found.context == llama.props()["default_generation_settings"]["n_ctx"]


@pytest.mark.parametrize("prompt", PROMPTS, ids=repr)
def test_a_text_completion_is_counted_as_the_server_counts_it(
    llama: LlamaServer, prompt: Any
) -> None:
    found = asyncio.run(counted(llama, read({"prompt": prompt}, "completion")))
    assert not found.estimated
    assert found.tokens == usage_of(llama, "/v1/completions", {"prompt": prompt})


@pytest.mark.parametrize("name", CHATS)
def test_the_way_of_older_servers_gives_the_same_count(llama: LlamaServer, name: str) -> None:
    infer = read(CHATS[name], "chat")
    counting = dialect_for("llamacpp").counting(infer, AttemptContext(upstream_model=MODEL))
    assert counting is not None
    next(counting)
    head, body, found = WireHead(status=404, headers={}), b"{}", None
    try:
        while True:
            request = counting.send((head, body))
            answer = post(f"{llama.url}{request.path}", msgspec.json.decode(request.body))
            head, body = WireHead(status=answer.status, headers={}), answer.body
    except StopIteration as done:
        found = done.value
    assert found == TokenCount(tokens=usage_of(llama, "/v1/chat/completions", CHATS[name]))


def test_what_we_refuse_the_server_refuses_and_what_we_let_through_it_answers(
    llama: LlamaServer,
) -> None:
    """At the very edge of the context."""
    context = llama.props()["default_generation_settings"]["n_ctx"]

    def words(count: int) -> dict[str, Any]:
        return {"prompt": [100] * count, "max_tokens": 1, "model": MODEL}

    for count, fits in ((context - 1, True), (context, False)):
        infer = read(words(count), "completion")
        found = asyncio.run(counted(llama, infer))
        assert found == PromptCount(tokens=count, estimated=False, context=context)
        if fits:
            check_context(found, infer, PLAN)
        else:
            with pytest.raises(ContextTooLong):
                check_context(found, infer, PLAN)
        assert post(f"{llama.url}/v1/completions", words(count)).status == (200 if fits else 400)
