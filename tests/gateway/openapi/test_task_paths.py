"""Tasks, as they are described."""

import asyncio

import aiohttp
import pytest

from gateway.listener import Listener
from gateway.runtime import Gateway
from gateway.tasks.desk import TaskDesk
from tests.support.described import CHAT, check_answer, validator


@pytest.mark.req("ADM-1", "OPS-3")
async def test_a_task_is_what_is_described_from_submission_to_end(
    gateway: Gateway,
) -> None:
    desk = TaskDesk(gateway)
    listener = await Listener.start(gateway, "127.0.0.1", 0, desk=desk)
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession(listener.url) as client:
        working = group.create_task(desk.run())
        await _through(client)
        working.cancel()
    await listener.close()


async def _through(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/tasks", json={**CHAT, "max_tokens": 1}) as answer:
        assert answer.status == 202
        check_answer(answer, "/v1/tasks", "post")
        accepted = await answer.json()
        validator("TaskAccepted").validate(accepted)
    task = f"/v1/tasks/{accepted['task_id']}"
    async with client.get(f"{task}/stream") as answer:
        check_answer(answer, "/v1/tasks/{id}/stream", "get")
        assert "event: started" in await answer.text()
    async with client.get(task) as answer:
        check_answer(answer, "/v1/tasks/{id}", "get")
        validator("TaskView", closed=False).validate(await answer.json())
    async with client.post(f"{task}/cancel") as answer:
        check_answer(answer, "/v1/tasks/{id}/cancel", "post")
        validator("TaskCancelled").validate(await answer.json())
    async with client.get("/v1/tasks", params={"state": "all"}) as answer:
        check_answer(answer, "/v1/tasks", "get")
        validator("TaskList", closed=False).validate(await answer.json())


@pytest.mark.req("OPS-3")
async def test_a_task_that_is_not_there_is_what_is_described(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/tasks/nobody") as answer:
        assert answer.status == 404
        check_answer(answer, "/v1/tasks/{id}", "get")
        validator("ErrorEnvelope").validate(await answer.json())
