"""What the loop tells, as it is described."""

import json
from pathlib import Path

import aiohttp
import msgspec
import pytest

from gateway.control import Control
from gateway.listener import Listener
from gateway.runtime import Gateway
from tests.fakes.virtual_gateway import breach
from tests.support.described import CHAT, check_answer, check_path, validator

ACTING = """
intents:
  - name: chat
    match: {default: true}
    objectives: {ttft_p95: 500ms, error_rate: 1%}
    ladder: [{cap_tokens: 2}]
"""


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("method", "path", "described", "name"),
    [
        ("GET", "/v1/intents", "/v1/intents", "IntentList"),
        ("GET", "/v1/decisions", "/v1/decisions", "DecisionList"),
        ("GET", "/v1/decisions?limit=x", "/v1/decisions", "ErrorEnvelope"),
    ],
)
async def test_what_paths_answer_is_what_is_described(
    client: aiohttp.ClientSession, method: str, path: str, described: str, name: str
) -> None:
    await check_path(client, method, path, described, name)


@pytest.mark.req("OPS-3", "INT-7")
async def test_decisions_and_intents_of_a_loop_at_work_are_what_is_described(
    gateway: Gateway, tmp_path: Path
) -> None:
    """With an action held and everything measured; and each decision as an event of the stream."""
    policies = tmp_path / "policies.yaml"
    policies.write_text(ACTING, encoding="utf-8")
    gateway.loaded = msgspec.structs.replace(gateway.loaded, policies_path=policies)
    await gateway.reload_policies()
    control = Control(gateway)
    listener = await Listener.start(gateway, "127.0.0.1", 0, control)
    async with aiohttp.ClientSession(listener.url) as session:
        async with session.post("/v1/chat/completions", json=CHAT) as answer:
            assert answer.status == 200
        pool = gateway.catalog.models["assistant"].pool
        breach(gateway, "chat", pool=pool, lane=gateway.catalog.models["assistant"].upstream)
        for _ in range(4):
            control.tick()
        async with session.get("/v1/intents") as answer:
            told = await answer.json()
            validator("IntentList").validate(told)
            assert told["data"][0]["actions"]
        async with session.get("/v1/decisions") as answer:
            told = await answer.json()
            validator("DecisionList").validate(told)
            assert told["data"]
        headers = {"accept": "text/event-stream", "last-event-id": "0"}
        async with session.get("/v1/decisions", headers=headers) as answer:
            check_answer(answer, "/v1/decisions", "get")
            async for line in answer.content:
                if line.startswith(b"data: "):
                    validator("LoggedDecision").validate(json.loads(line[6:]))
                    break
    await listener.close()
