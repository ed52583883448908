"""What a backend answers, as it is described."""

import json
from typing import Any

import aiohttp
import pytest

from tests.support.described import CHAT, MODEL, check_answer, validator


@pytest.mark.req("OPS-3", "RUN-3")
@pytest.mark.parametrize(
    ("path", "body", "whole", "chunk"),
    [
        ("/v1/chat/completions", CHAT, "ChatCompletion", "ChatCompletionChunk"),
        (
            "/v1/completions",
            {**MODEL, "prompt": "hi", "max_tokens": 4},
            "Completion",
            "Completion",
        ),
    ],
)
async def test_generated_answers_are_what_is_described(
    client: aiohttp.ClientSession, path: str, body: dict[str, Any], whole: str, chunk: str
) -> None:
    async with client.post(path, json=body) as answer:
        assert answer.status == 200
        check_answer(answer, path, "post")
        validator(whole).validate(await answer.json())
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    async with client.post(path, json=streamed) as answer:
        check_answer(answer, path, "post")
        lines = [line for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    for each in chunks:
        validator(chunk).validate(each)


@pytest.mark.req("OPS-3", "RUN-3")
@pytest.mark.parametrize(
    ("path", "body", "whole", "event"),
    [
        ("/v1/messages", CHAT, "AnthropicMessage", "MessageEvent"),
        ("/v1/responses", {**MODEL, "input": "hi"}, "ResponseObject", "ResponseEvent"),
    ],
)
async def test_answers_in_other_languages_are_what_is_described(
    client: aiohttp.ClientSession, path: str, body: dict[str, Any], whole: str, event: str
) -> None:
    async with client.post(path, json=body) as answer:
        assert answer.status == 200
        check_answer(answer, path, "post")
        # what is in an item depends on its type
        validator(whole, closed=whole == "AnthropicMessage").validate(await answer.json())
    async with client.post(path, json={**body, "stream": True}) as answer:
        check_answer(answer, path, "post")
        lines = [line for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    assert len(lines) > 3
    for line in lines:
        validator(event, closed=False).validate(json.loads(line.removeprefix("data: ")))
    async with client.post(path, json={**body, "model": "nobody"}) as answer:
        assert answer.status == 404
        check_answer(answer, path, "post")
        validator("ErrorEnvelope", closed=path == "/v1/responses").validate(await answer.json())
        if path == "/v1/messages":
            validator("AnthropicError").validate(await answer.json())


@pytest.mark.req("OPS-3")
async def test_a_token_count_is_what_is_described(client: aiohttp.ClientSession) -> None:
    path = "/v1/messages/count_tokens"
    async with client.post(path, json={**MODEL, "messages": CHAT["messages"]}) as answer:
        assert answer.status == 200
        check_answer(answer, path, "post")
        validator("TokenCountAnswer").validate(await answer.json())


@pytest.mark.req("OPS-3", "RUN-6")
@pytest.mark.parametrize(
    ("body", "status"),
    [({**CHAT, "model": "nobody"}, 404), ({**CHAT, "n": 0}, 400), ("no JSON", 400)],
)
async def test_a_refused_chat_is_what_is_described(
    client: aiohttp.ClientSession, body: Any, status: int
) -> None:
    async with client.post("/v1/chat/completions", json=body) as answer:
        assert answer.status == status
        check_answer(answer, "/v1/chat/completions", "post")
        validator("ErrorEnvelope").validate(await answer.json())


@pytest.mark.req("OPS-3")
async def test_an_embedding_is_what_is_described(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/embeddings", json={**MODEL, "input": "hi"}) as answer:
        assert answer.status == 200
        check_answer(answer, "/v1/embeddings", "post")
        # the backend's own members travel on
        validator("EmbeddingList", closed=False).validate(await answer.json())
