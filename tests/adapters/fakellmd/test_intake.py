"""Requests become answers that are waited for; what the picker is told never reaches an engine."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.dialect import WireRequest
from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.exchange import LocalExchange
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.intake import INFERENCE, Answer, Intake
from adapters.fakellmd.settings import LlmdSettings, ServedModel

pytestmark = [pytest.mark.req("INT-9"), pytest.mark.looptime]
Build = Callable[..., LlmdSettings]
Make = Callable[..., WireRequest]
CHAT, _, EMBEDDINGS = INFERENCE


@pytest.fixture
def settings(exact: Build) -> LlmdSettings:
    models = (ServedModel(name="m"), ServedModel(name="other"))
    return exact(models=models, epp=EppSettings(objectives={"critical": 10, "batch": -5}))


@pytest.fixture
def read(settings: LlmdSettings, recorder: Any) -> Callable[..., Answer]:
    intake = Intake(lambda: settings, lambda: 0.0)

    def answer(request: WireRequest, path: str = CHAT) -> Answer:
        exchange = LocalExchange(recorder(), asyncio.get_running_loop(), lambda _: None)
        return intake.answer(path, request, exchange, 3.0)

    return answer


Read = Callable[..., Answer]


async def test_a_call_knows_what_the_picker_must_know(
    read: Read, chat: Make, make_post: Make
) -> None:
    body = json.loads(chat(max_tokens=3, n=2, stream=True, priority=4).body)
    told = {
        "X-LLM-D-Inference-Objective": "batch",
        "x-gateway-inference-fairness-id": "tenant",
        "x-request-id": "r1",
    }
    answer = read(make_post(CHAT, body, **told))
    call = answer.call
    assert (call.model, call.target, call.priority, call.stream) == ("m", "m", -5, True)
    assert (call.wants.fairness_id, call.wants.request_id) == ("tenant", "r1")
    assert (call.received_s, call.prompt_tokens, call.body_bytes) == (3.0, 7, len(json.dumps(body)))
    assert [len(choice.script.pieces) for choice in answer.choices] == [3, 3]
    assert answer.priority == 4  # the body's is the engine's business
    assert answer.writer is not None


@pytest.mark.parametrize("objective", ["", "typo", "Critical"])
async def test_an_unknown_objective_silently_has_priority_0(
    read: Read, chat: Make, make_post: Make, objective: str
) -> None:
    body = json.loads(chat().body)
    assert read(make_post(CHAT, body, x_llm_d_inference_objective=objective)).call.priority == 0


async def test_an_engine_never_sees_what_was_meant_for_the_picker(
    settings: LlmdSettings, chat: Make, make_post: Make, recorder: Any
) -> None:
    class Spy(Intake):
        seen: dict[str, str]

        def _answer_id(self, headers: dict[str, str]) -> str:
            self.seen = headers
            return ""

    spy = Spy(lambda: settings, lambda: 0.0)
    exchange = LocalExchange(recorder(), asyncio.get_running_loop(), lambda _: None)
    told = {
        "X-Gateway-Inference-Objective": "critical",
        "x-llm-d-slo-ttft-ms": "800",
        "X-Gateway-Destination-Endpoint-Subset": "10.0.0.1:8000",
        "x-llm-d-request-dropped-reason": "evicted",
        "x-request-id": "r",
    }
    answer = spy.answer(CHAT, make_post(CHAT, json.loads(chat().body), **told), exchange, 0.0)
    assert answer.call.priority == 10
    assert spy.seen == {"content-type": "application/json", "x-request-id": "r"}


async def test_calls_have_numbers_of_their_own(read: Read, chat: Make) -> None:
    assert len({read(chat()).call.id for _ in range(9)}) == 9


async def test_a_rewrite_is_served_by_the_other_model(
    read: Read, chat: Make, make_post: Make
) -> None:
    body = json.loads(chat(max_tokens=3).body)
    answer = read(make_post(CHAT, body, x_llm_d_model_name_rewrite="other"))
    assert (answer.call.model, answer.call.target) == ("m", "other")
    assert json.loads(answer.whole())["model"] == "other"
    with pytest.raises(ApiError, match="`nobody` does not exist"):
        read(make_post(CHAT, body, x_llm_d_model_name_rewrite="nobody"))


async def test_embeddings_are_a_prefill_and_no_more(read: Read, make_post: Make) -> None:
    answer = read(make_post(EMBEDDINGS, {"model": "m", "input": ["abcd", "ef"]}), EMBEDDINGS)
    assert answer.call.prompt_tokens == 2
    assert [len(choice.script.pieces) for choice in answer.choices] == [1]
    assert len(json.loads(answer.whole())["data"]) == 2


async def test_a_header_may_ask_for_an_error_before_anything_is_decided(
    read: Read, make_post: Make
) -> None:
    with pytest.raises(ApiError) as told:
        read(make_post(CHAT, {}, X_Return_Error="429", x_llm_d_inference_objective="batch"))
    assert told.value.status == 429


async def test_an_answers_id_is_the_requests_or_one_of_its_own(
    read: Read, chat: Make, make_post: Make
) -> None:
    body = json.loads(chat(max_tokens=1).body)
    told = read(make_post(CHAT, body, x_request_id="r7"))
    assert json.loads(told.whole())["id"] == "chatcmpl-r7"
    own = {json.loads(read(chat(max_tokens=1)).whole())["id"] for _ in range(3)}
    assert len(own) == 3
