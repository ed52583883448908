"""Around every request: paths, names, errors as answers, and what an operator asks."""

from collections.abc import Awaitable, Callable

import pytest

from tests.fakes.edge import RULES, Edge, chat_body, request
from tests.fakes.scripted_engine import (
    ScriptedEngine,
)

MakeEdge = Callable[..., Awaitable[Edge]]
KEY = "sk-upstream-0123456789"


# -- what comes back ----------------------------------------------------------------------


@pytest.mark.parametrize("given_id", ["abc-1", "!" * 128])
async def test_a_sane_request_id_is_kept(make_edge: MakeEdge, given_id: str) -> None:
    edge = await make_edge()
    answer = await edge.ask(
        "POST", "/v1/chat/completions", chat_body(model="none"), x_request_id=given_id
    )
    assert answer.headers["x-request-id"] == answer.error["request_id"] == given_id


@pytest.mark.parametrize("given_id", ["", "a b", "x" * 129, "caf\xe9"])
async def test_any_other_request_id_is_replaced(make_edge: MakeEdge, given_id: str) -> None:
    edge = await make_edge()
    answer = await edge.ask("GET", "/livez", x_request_id=given_id)
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics", "/v1/models"])
async def test_every_answer_has_a_request_id(make_edge: MakeEdge, path: str) -> None:
    edge = await make_edge()
    assert (await edge.ask("GET", path, x_request_id="mine")).headers["x-request-id"] == "mine"


async def test_models_are_listed_and_found_by_name(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    listed = (await edge.ask("GET", "/v1/models")).json
    assert [(m["id"], m["owned_by"]) for m in listed["data"]] == [("served", "openai")]
    assert (await edge.ask("GET", "/v1/models/served")).json == listed["data"][0]
    missing = await edge.ask("GET", "/v1/models/serve")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert "served" in missing.error["message"]


async def test_head_answers_without_a_body(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(request("HEAD", "/v1/models") + request("GET", "/livez"))
        assert (await line.answer(bodiless=True)).status == 200
        assert (await line.answer()).json == {"status": "ok"}


# -- the request is wrong -----------------------------------------------------------------


async def test_an_unknown_path_is_a_404_with_a_hint(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    answer = await edge.ask("POST", "/v1/chat/completion", b"{}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert "/v1/chat/completions" in answer.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_one(
    make_edge: MakeEdge, method: str, path: str, allowed: str
) -> None:
    edge = await make_edge()
    answer = await edge.ask(method, path)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


async def test_a_draining_gateway_takes_nothing_new(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    edge.gateway.draining = True
    answer = await edge.chat()
    assert (answer.status, answer.error["code"]) == (503, "draining")
    assert answer.headers["connection"] == "close"
    ready = await edge.ask("GET", "/readyz")
    assert (ready.status, ready.json["status"]) == (503, "draining")
    assert (await edge.ask("GET", "/livez")).status == 200


# -- operators ----------------------------------------------------------------------------


@pytest.mark.req("ENG-2")
async def test_readyz_is_a_503_that_says_why_while_no_backend_is_ready(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge()
    assert (await edge.ask("GET", "/readyz")).status == 200
    await engine.aclose()
    await edge.gateway.health.first_look()
    answer = await edge.ask("GET", "/health")
    assert (answer.status, answer.json["status"]) == (503, "no ready backend")
    (endpoint,) = answer.json["pools"]["main"]
    assert (endpoint["endpoint"], endpoint["ready"]) == (1, False)
    assert endpoint["why"]


async def test_reload_answers_with_the_version_or_with_every_problem(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(policies=RULES.replace("REJECT", ""))
    before = edge.gateway.policy.version
    path = edge.gateway.loaded.policies_path
    path.write_text(RULES.replace("REJECT", "status: 503"))
    answer = await edge.ask("POST", "/admin/reload")
    assert answer.status == 200
    assert answer.json["version"] == edge.gateway.policy.version != before
    path.write_text("intents: 5\nrules: 7\n")
    refused = await edge.ask("POST", "/admin/reload")
    assert (refused.status, refused.json["status"]) == (422, "refused")
    assert len(refused.json["problems"]) == 2
    assert edge.gateway.policy.version == answer.json["version"]
