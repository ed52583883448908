"""Asking once more. What the command prints of it is in `test_replay_command.py`."""

import os
from pathlib import Path

import msgspec
import pytest

from contracts.inference import RoutingPlan
from gateway.configuration import load
from gateway.records.replay import NotAsked, recorded_facts, replay
from gateway.records.restored import Restored
from gateway.settings import LoadedConfig
from tests.fakes.closed import DECISION, INFER, TARGET

pytestmark = pytest.mark.req("RUN-9")
ASKED = msgspec.structs.replace(
    INFER,
    members={
        "model": msgspec.Raw(b'"assistant"'),
        "messages": msgspec.Raw(b'[{"role":"user","content":"Hello"}]'),
        "max_tokens": msgspec.Raw(b"9"),
    },
)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    file = tmp_path / "setpoint.yaml"
    file.write_text("auth: {token: outlasts}")  # a word that the simulated engine likes to say
    return load(file, env=os.environ)


def then(plan: RoutingPlan | None) -> Restored:
    return Restored(infer=ASKED, decision=DECISION, plan=plan, answer=None)


def plan(**members: object) -> RoutingPlan:
    target = msgspec.structs.replace(TARGET, pool="sim", upstream="sim-large")
    return msgspec.structs.replace(RoutingPlan(targets=(target,)), **members)


async def test_the_plan_of_the_record_is_carried_out(loaded: LoadedConfig) -> None:
    now = await replay(loaded, then(plan(max_tokens=3)), decide=False)
    assert now.error is None
    assert now.facts.completion_tokens == 3
    assert now.facts.attempts == ("sim/1 ok",)
    assert now.answer is not None
    assert now.answer.choices[0].finish_reason == "length"
    decided = await replay(loaded, then(plan(max_tokens=3)), decide=True)
    assert decided.facts.completion_tokens == 9


async def test_a_plan_that_cannot_be_carried_out_is_none(loaded: LoadedConfig) -> None:
    elsewhere = msgspec.structs.replace(TARGET, pool="elsewhere")
    for impossible in (None, plan(targets=(elsewhere,))):
        with pytest.raises(NotAsked, match="--decide decides anew"):
            await replay(loaded, then(impossible), decide=False)


def test_facts_of_a_record_are_read_from_its_rows() -> None:
    attempt = {
        "replica": "sim/1",
        "fault": None,
        "engine": "llamacpp",
        "engine_version": "b9",
        "model_digest": "0123456789abcdef",
    }
    row = {
        **dict.fromkeys(("ttft_s", "tpot_s", "prompt_tokens", "completion_tokens", "error_code")),
        **{"served_by": "a", "queue_s": 0.0, "e2e_s": 1.0, "outcome": "completed"},
        "attempts": [attempt | {"fault": "overload"}, attempt],
    }
    facts = recorded_facts(row)
    assert facts.attempts == ("sim/1 overload", "sim/1 ok")
    assert facts.engine == "llamacpp b9 0123456789ab"
    assert recorded_facts(row | {"attempts": []}).engine is None
    prefixed = attempt | {"model_digest": "told-sha256:0123456789abcdef"}
    assert (
        recorded_facts(row | {"attempts": [prefixed]}).engine
        == "llamacpp b9 told-sha256:0123456789ab"
    )
