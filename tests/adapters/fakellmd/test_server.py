"""The fake on a real socket, asked by the OpenAI SDK and by a client that leaves."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from aiohttp import web

from adapters.fakellmd.server import make_app, serve
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")
QUICK = Latency(
    prefill_overhead_s=0.005, prefill_time_std_dev_s=0.0, inter_token_latency_s=0.002,
    inter_token_latency_std_dev_s=0.0,
)  # fmt: skip
SLOW = Latency(prefill_overhead_s=600.0, prefill_time_std_dev_s=0.0)
SETTINGS = LlmdSettings(
    models=(ServedModel(name="quick", latency=QUICK), ServedModel(name="slow", latency=SLOW)),
    max_body_bytes=4096,
)


@pytest.fixture
async def fake() -> FakeLlmd:
    return FakeLlmd(SETTINGS)


@pytest.fixture
async def address(fake: FakeLlmd) -> AsyncIterator[str]:
    runner = web.AppRunner(make_app(fake), handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_openai_sdk_is_content(address: str) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{address}/v1", api_key="none", max_retries=0
    ) as client:
        assert [model.id async for model in client.models.list()] == ["quick", "slow"]
        messages = [{"role": "user", "content": "hello"}]
        whole = await client.chat.completions.create(
            model="quick", messages=messages, max_tokens=8, seed=1
        )
        stream = await client.chat.completions.create(
            model="quick",
            messages=messages,
            max_tokens=8,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage.completion_tokens == 8
        vectors = await client.embeddings.create(model="quick", input=["a", "b"])
        assert [len(item.embedding) for item in vectors.data] == [384, 384]
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="nope", messages=messages)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(
                model="quick", messages=messages, extra_headers={"X-Return-Error": "429"}
            )


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_its_place(
    fake: FakeLlmd, address: str, stream: bool
) -> None:
    (engine,) = fake._fleet.engines["slow"]
    body = {"model": "slow", "prompt": "x", "stream": stream}

    async def ask(client: aiohttp.ClientSession) -> None:
        async with client.post(f"{address}/v1/completions", json=body) as answer:
            await answer.read()

    async def running(number: int) -> None:
        while engine.running != number:  # noqa: ASYNC110  # a pure model has no event to await
            await asyncio.sleep(0.005)

    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as client,
        asyncio.TaskGroup() as group,
    ):
        asking = group.create_task(ask(client))
        await running(1)
        asking.cancel()
        await running(0)


async def test_other_paths_and_bodies_that_are_too_long_are_answered(address: str) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{address}/health") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with client.get(f"{address}/metrics") as answer:
            assert "vllm:num_requests_running" in await answer.text()
        async with client.post(f"{address}/tokenize", json={"prompt": "x" * 9000}) as answer:
            assert answer.status == 413
            assert (await answer.json())["error"]["code"] == 413


async def test_closing_breaks_the_connection_of_an_unfinished_answer(
    fake: FakeLlmd, address: str
) -> None:
    body = {"model": "slow", "prompt": "x", "stream": True}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{address}/v1/completions", json=body) as answer,
    ):
        assert answer.status == 200
        await fake.aclose()
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_the_pickers_refusals_are_plain_text_on_the_wire_too(
    fake: FakeLlmd, address: str
) -> None:
    async with aiohttp.ClientSession() as client:
        admin, ask = f"{address}/admin/config", f"{address}/v1/completions"
        async with client.post(admin, json={"pods_down": {"quick": [0]}}) as answer:
            assert (await answer.json())["pods_down"] == {"quick": [0]}
        async with client.post(ask, json={"model": "quick", "prompt": "x"}) as answer:
            assert answer.status == 503
            assert answer.headers["content-type"] == "text/plain"
            assert answer.headers["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints"
            assert await answer.text() == (
                "inference error: ServiceUnavailable - failed to find endpoint candidates for "
                "serving the request"
            )
        fake.recover("quick", 0)
        body = {"model": "quick", "prompt": "x", "max_tokens": 2}
        async with client.post(ask, json=body) as answer:
            assert (answer.status, answer.headers["x-went-into-resp-headers"]) == (200, "true")


async def test_a_slow_reader_gets_the_whole_answer(address: str) -> None:
    body = {"model": "quick", "prompt": "x", "stream": True, "max_tokens": 200, "n": 8}
    body["ignore_eos"] = True
    async with (
        aiohttp.ClientSession(read_bufsize=1024) as client,
        client.post(f"{address}/v1/completions", json=body) as answer,
    ):
        data = await answer.read()
    assert data.count(b'"finish_reason":"length"') == 8
    assert data.endswith(b"data: [DONE]\n\n")


async def test_serve_tells_its_port_and_stops_when_cancelled() -> None:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(SETTINGS, port=0, on_listening=port.set_result))
        url = f"http://127.0.0.1:{await port}/v1/models"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            assert answer.status == 200
        task.cancel()
