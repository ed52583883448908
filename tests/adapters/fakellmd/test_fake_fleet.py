"""Several fake llm-ds behind one transport: each request goes to the one that serves its model."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.dialect import WireRequest
from adapters.fakellmd.fake_fleet import FakeFleet
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings, ServedModel

pytestmark = [pytest.mark.req("INT-9"), pytest.mark.looptime]
Build = Callable[..., LlmdSettings]
Make = Callable[..., WireRequest]
Ask = Callable[..., Any]


@pytest.fixture
def fleet(exact: Build) -> FakeFleet:
    return FakeFleet(
        {name: FakeLlmd(exact(models=(ServedModel(name=name),))) for name in ("one", "two")}
    )


@pytest.mark.parametrize("model", ["one", "two"])
async def test_a_request_is_answered_by_the_engines_of_its_model(
    fleet: FakeFleet, chat: Make, ask: Ask, model: str
) -> None:
    got = await ask(fleet, chat(model=model, max_tokens=2))
    assert (got.status, got.json["model"]) == (200, model)
    assert got.head.headers["x-inference-pod"] == f"{model}-0"


async def test_engines_of_one_model_are_not_kept_busy_by_another(
    fleet: FakeFleet, chat: Make, ask: Ask
) -> None:
    """Alone, the last of three tokens comes after 0.5 + 2 * 0.0625 s; not so in a full batch."""
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(ask(fleet, chat(model="one", max_tokens=3, stream=True)))
        alone = group.create_task(ask(fleet, chat(model="two", max_tokens=3, stream=True)))
    assert alone.result().times[-1] == pytest.approx(0.625)


async def test_every_operation_is_routed_by_the_model_it_names(
    fleet: FakeFleet, make_post: Make, ask: Ask
) -> None:
    embedded = await ask(fleet, make_post("/v1/embeddings", {"model": "two", "input": "hi"}))
    assert (embedded.status, embedded.json["model"]) == (200, "two")
    completed = await ask(
        fleet, make_post("/v1/completions", {"model": "two", "prompt": "hi", "max_tokens": 1})
    )
    assert (completed.status, completed.json["model"]) == (200, "two")


async def test_a_model_that_nobody_serves_is_refused_as_llmd_does(
    fleet: FakeFleet, chat: Make, ask: Ask
) -> None:
    got = await ask(fleet, chat(model="three"))
    assert got.status == 404
    assert "three" in json.dumps(got.json)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"one"',
        b'{"model": 5}',
        b'{"model": "\xff"}',
        b"{" * 5000,
        b"[" * 100_000,
    ],
)
async def test_a_body_without_a_model_is_refused_and_breaks_nothing(
    fleet: FakeFleet, make_post: Make, chat: Make, ask: Ask, body: bytes
) -> None:
    assert (await ask(fleet, make_post("/v1/chat/completions", body))).status == 400
    assert (await ask(fleet, chat(model="two", max_tokens=1))).status == 200


async def test_the_first_one_decides_about_health(fleet: FakeFleet, ask: Ask) -> None:
    assert (await ask(fleet, "/health")).status == 200
    fleet.fakes["two"].fail("two", 0)
    assert (await ask(fleet, "/health")).status == 200
    fleet.fakes["two"].recover("two", 0)
    fleet.fakes["one"].fail("one", 0)
    assert (await ask(fleet, "/health")).status == 503
    named = WireRequest(method="GET", path="/health", headers=(), body=b'{"model": "two"}')
    assert (await ask(fleet, named)).status == 503, "a GET names no model, whatever it carries"


async def test_a_lost_engine_takes_no_other_model_with_it(
    fleet: FakeFleet, chat: Make, ask: Ask
) -> None:
    fleet.fakes["one"].fail("one", 0)
    assert (await ask(fleet, chat(model="one", max_tokens=1))).status >= 500
    assert (await ask(fleet, chat(model="two", max_tokens=1))).status == 200


async def test_cancelling_stops_the_work(fleet: FakeFleet, chat: Make, recorder: Any) -> None:
    sink = recorder()
    exchange = fleet.start(chat(model="two", stream=True), sink)
    await asyncio.sleep(0.51)
    said = len(sink.chunks)
    exchange.cancel()
    await asyncio.sleep(10)
    assert len(sink.chunks) == said


async def test_closing_ends_what_runs_in_every_one_of_them(
    fleet: FakeFleet, chat: Make, recorder: Any
) -> None:
    sinks = []
    for model in ("one", "two"):
        sinks.append(recorder())
        fleet.start(chat(model=model, stream=True), sinks[-1])
    await asyncio.sleep(0.2)
    await fleet.aclose()
    assert [sink.calls[-1] for sink in sinks] == ["error", "error"]
