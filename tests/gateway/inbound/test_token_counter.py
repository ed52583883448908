"""Counting tokens over HTTP: nothing is generated, and who counted is said."""

import msgspec
import pytest

from tests.fakes.scripted_engine import ScriptedEngine
from tests.gateway.conftest import EdgeMaker

pytestmark = pytest.mark.req("ADM-1", "RUN-6")

BODY = {"model": "served", "messages": [{"role": "user", "content": "Hello there, " * 10}]}
PATH = "/v1/messages/count_tokens"


async def test_an_estimate_is_said_to_be_one_and_asks_for_no_answer(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge()
    answer = await edge.ask("POST", PATH, msgspec.json.encode(BODY), x_request_id="mine")
    assert answer.status == 200
    assert answer.json["input_tokens"] > 20
    assert answer.headers["x-setpoint-tokens-estimated"] == "true"
    assert answer.headers["request-id"] == answer.headers["x-request-id"] == "mine"
    assert engine.asked == []
    assert await edge.counted("setpoint_requests_total") == 0


async def test_a_backend_that_can_count_does(make_edge: EdgeMaker) -> None:
    edge = await make_edge(embedded=True)
    told = {**BODY, "model": "assistant"}
    answer = await edge.ask("POST", PATH, msgspec.json.encode(told))
    assert answer.headers["x-setpoint-tokens-estimated"] == "false"
    message = {**told, "max_tokens": 2}
    whole = await edge.ask("POST", "/v1/messages", msgspec.json.encode(message))
    usage = whole.json["usage"]
    cached = usage.get("cache_read_input_tokens", 0)
    assert usage["input_tokens"] + cached == answer.json["input_tokens"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "invalid_request_error"),
        (msgspec.json.encode({**BODY, "messages": []}), 400, "invalid_request_error"),
        (msgspec.json.encode({**BODY, "model": "nobody"}), 404, "not_found_error"),
    ],
)
async def test_what_is_wrong_is_said_in_anthropics_words(
    make_edge: EdgeMaker, body: bytes, status: int, kind: str
) -> None:
    edge = await make_edge()
    answer = await edge.ask("POST", PATH, body)
    assert answer.status == status
    assert (answer.json["type"], answer.error["type"]) == ("error", kind)


async def test_so_are_errors_of_the_door_itself(make_edge: EdgeMaker) -> None:
    edge = await make_edge("limits: {body: 1KiB}")
    wrong = await edge.ask("GET", "/v1/messages")
    assert (wrong.status, wrong.json["type"]) == (405, "error")
    missing = await edge.ask("POST", "/v1/messages/batches", b"{}")
    assert missing.error["type"] == "not_found_error"
    large = await edge.ask("POST", "/v1/messages", b"x" * 5000)
    assert large.error["type"] == "request_too_large"
    unsent = await edge.ask("POST", "/v1/messages", b"x" * 5000, expect="100-continue")
    assert unsent.error["type"] == "request_too_large"
    assert unsent.headers["request-id"]
    other = await edge.ask("GET", "/v1/messagesX")
    assert "type" not in other.json
