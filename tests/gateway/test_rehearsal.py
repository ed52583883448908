"""A request carried to the backend's door, and no further."""

from pathlib import Path

import msgspec
import pytest

from contracts.inference import InferRequest
from gateway.configuration import load
from gateway.intake import read_request
from gateway.rehearsal import rehearse
from gateway.settings import LoadedConfig
from tests.fakes.edge import chat_body
from tests.fakes.scripted_engine import ScriptedEngine

RULES = """
rules:
  - {name: cap, then: {max_tokens: 5}}
  - {name: no novels, when: request.max_tokens > 1000, then: {reject: {message: no}}}
"""


def loaded(folder: Path, config: str = "", policies: str | None = None) -> LoadedConfig:
    if policies is not None:
        (folder / "policies.yaml").write_text(policies)
        config += "\npolicies: policies.yaml"
    file = folder / "setpoint.yaml"
    file.write_text(config)
    return load(file, env={})


def asking(**members: object) -> InferRequest:
    return read_request(chat_body(**members), "chat", request_id="r", key="", headers={})


async def test_the_body_is_the_one_that_the_backend_would_get(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    config = (
        f"pools: [{{id: main, engine: openai, endpoint: '{engine.url}'}}]\n"
        "models: [{name: served, pool: main, upstream: real}]"
    )
    told = await rehearse(loaded(tmp_path, config, RULES), asking(max_tokens=9))
    assert told.body is not None
    body = msgspec.json.decode(told.body)
    assert (body["model"], body["max_tokens"], body["stream"]) == ("real", 5, True)
    assert engine.asked == []


async def test_a_refused_request_has_no_body(tmp_path: Path) -> None:
    policies = RULES.replace("cap", "allow").replace("max_tokens: 5", "max_tokens: 5000")
    told = await rehearse(
        loaded(tmp_path, policies=policies), asking(model="assistant", max_tokens=2000)
    )
    assert told.body is None
    assert told.explanation.decision is not None
    assert told.explanation.decision.shaping.reject is not None


async def test_an_unknown_model_is_told_and_not_raised(tmp_path: Path) -> None:
    told = await rehearse(loaded(tmp_path), asking(model="nope"))
    assert (told.explanation.status, told.body) == (404, None)


@pytest.mark.req("INT-3")
async def test_models_that_backends_list_are_looked_up(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    config = f"adapter: {{engine: openai, endpoint: '{engine.url}'}}"
    told = await rehearse(loaded(tmp_path, config), asking())
    assert told.body is not None
    assert engine.asked == []


async def test_the_embedded_pool_shows_what_it_can_do(tmp_path: Path) -> None:
    policies = "rules: [{name: idle, when: pool.limit > 0, then: {max_tokens: 5}}]"
    told = await rehearse(loaded(tmp_path, policies=policies), asking(model="assistant"))
    assert told.explanation.decision is not None
    assert told.explanation.decision.shaping.max_tokens == 5
