"""The published API description: up to date, valid, and true of the application it describes."""

import json
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import contracts
from contracts import errors
from gateway import openapi
from gateway.configuration import load
from gateway.control import Control
from gateway.edge import make_app
from gateway.runtime import Gateway
from gateway.serve import Listener
from gateway.tasks.desk import TaskDesk
from gateway.version import VERSION
from tests.fakes.virtual_gateway import breach

FOLDER = Path(contracts.__file__).parent
PUBLISHED = FOLDER / openapi.FILE
DOCUMENT: dict[str, Any] = json.loads(openapi.document())
MODEL = {"model": "assistant"}
ACTING = """
intents:
  - name: chat
    match: {default: true}
    objectives: {ttft_p95: 500ms, error_rate: 1%}
    ladder: [{cap_tokens: 2}]
"""
CHAT = {**MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def validator(name: str, *, closed: bool = True) -> Any:
    """Checks against one of the document's schemas; `closed`: and allows no member it does not name."""
    components = json.loads(json.dumps(DOCUMENT["components"]))
    for schema in components["schemas"].values():
        if closed and "properties" in schema:
            schema["additionalProperties"] = False
    root = {"$ref": f"#/components/schemas/{name}", "components": components}
    return jsonschema.Draft202012Validator(root)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """The built-in configuration: a simulated llm-d, no token."""
    gateway = Gateway(load(None, env={}))
    await gateway.health.first_look()
    yield gateway
    await gateway.aclose()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    listener = await Listener.start(gateway, "127.0.0.1", 0)
    async with aiohttp.ClientSession(listener.url) as session:
        yield session
    await listener.close()


@pytest.mark.req("OPS-3")
def test_the_published_description_is_the_generated_one() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    assert PUBLISHED.read_bytes() == openapi.document(version), "run python -m gateway.openapi"


@pytest.mark.req("OPS-3")
def test_the_command_writes_the_description_of_the_running_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "__file__", str(tmp_path / "__init__.py"))
    openapi.main()
    written = (tmp_path / openapi.FILE).read_bytes()
    assert written == openapi.document()
    assert json.loads(written)["info"]["version"] == VERSION


@pytest.mark.req("OPS-3")
def test_another_process_generates_the_same_bytes() -> None:
    code = "import sys; from gateway.openapi import document; sys.stdout.buffer.write(document())"
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, check=True, cwd=FOLDER.parent, timeout=60)
    assert other.stdout == openapi.document()


@pytest.mark.req("OPS-3")
def test_the_description_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")


@pytest.mark.req("OPS-3")
async def test_the_described_operations_are_the_routes_of_the_application(
    gateway: Gateway,
) -> None:
    app = make_app(gateway, Control(gateway), TaskDesk(gateway))
    routes = {
        (resource.canonical, route.method.lower())
        for resource in app.router.resources()
        for route in resource
        if route.method != "HEAD"  # comes with every GET
    }
    assert routes == {(path, method) for path, method, _ in operations()}


def leaves(kind: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from leaves(child)


@pytest.mark.req("OPS-3", "RUN-6")
def test_every_status_of_the_error_tree_is_described_for_chats() -> None:
    chat = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]
    task = DOCUMENT["paths"]["/v1/tasks"]["post"]["responses"]
    for_tasks_only = set(task) - set(chat)
    assert for_tasks_only == {"202", "422"}
    assert {str(kind.status) for kind in leaves(errors.GatewayError)} <= {*chat, *for_tasks_only}


@pytest.mark.req("OPS-3", "RUN-6")
def test_every_described_error_is_the_error_envelope() -> None:
    responses = DOCUMENT["components"]["responses"]
    assert set(responses) == {str(status) for status in openapi._ERRORS}
    for response in responses.values():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorEnvelope"}
    for path, method, operation in operations():
        for status, response in operation["responses"].items():
            own = status in ("200", "202", "204", "422", "default") or (
                path in ("/readyz", "/health")
            )
            assert "$ref" in response or own, (path, method, status)
    assert validator("ErrorEnvelope").is_valid(
        json.loads(errors.QueueFull("full", retry_after_s=2).encode("req_1"))
    )


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ChatRequest", CHAT),
        ("CompletionRequest", {**MODEL, "prompt": "hi"}),
        ("EmbeddingRequest", {**MODEL, "input": ["hi"]}),
    ],
)
def test_requests_may_carry_members_that_are_not_described(name: str, body: Any) -> None:
    checker = validator(name, closed=False)
    assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is True
    assert checker.is_valid({**body, "min_p": 0.1, "grammar": {"any": ["thing"]}})
    assert not checker.is_valid({**body, "model": 5})


# -- against the running application ------------------------------------------------------


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("method", "path", "described", "name"),
    [
        ("GET", "/v1/models", "/v1/models", "ModelList"),
        ("GET", "/v1/models/assistant", "/v1/models/{id}", "ModelEntry"),
        ("GET", "/v1/models/no/such", "/v1/models/{id}", "ErrorEnvelope"),
        ("GET", "/v1/intents", "/v1/intents", "IntentList"),
        ("GET", "/v1/decisions", "/v1/decisions", "DecisionList"),
        ("GET", "/v1/decisions?limit=x", "/v1/decisions", "ErrorEnvelope"),
        ("GET", "/v1/pools", "/v1/pools", "PoolList"),
        ("GET", "/v1/pools/sim/health", "/v1/pools/{id}/health", "PoolHealth"),
        ("GET", "/v1/pools/no/health", "/v1/pools/{id}/health", "ErrorEnvelope"),
        ("POST", "/v1/pools/sim/drain", "/v1/pools/{id}/drain", "PoolDrain"),
        ("POST", "/v1/pools/sim/drain?wait=x", "/v1/pools/{id}/drain", "ErrorEnvelope"),
        ("POST", "/v1/pools/sim/reload", "/v1/pools/{id}/reload", "PoolHealth"),
        ("GET", "/v1/capabilities", "/v1/capabilities", "Capabilities"),
        ("GET", "/livez", "/livez", "Liveness"),
        ("GET", "/readyz", "/readyz", "Readiness"),
        ("GET", "/health", "/health", "Readiness"),
        ("POST", "/admin/reload", "/admin/reload", "Reloaded"),
        ("DELETE", "/livez", "/livez", "ErrorEnvelope"),
    ],
)
async def test_what_paths_answer_is_what_is_described(
    client: aiohttp.ClientSession, method: str, path: str, described: str, name: str
) -> None:
    async with client.request(method, path) as answer:
        check_answer(answer, described, "get" if method == "DELETE" else method.lower())
        validator(name).validate(await answer.json())


@pytest.mark.req("OPS-3")
async def test_a_refused_reload_is_what_is_described(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("rules: [{name: a}]", encoding="utf-8")
    gateway.loaded = msgspec.structs.replace(gateway.loaded, policies_path=broken)
    async with client.post("/admin/reload") as answer:
        assert answer.status == 422
        check_answer(answer, "/admin/reload", "post")
        validator("ReloadRefused").validate(await answer.json())


@pytest.mark.req("OPS-3")
async def test_a_running_gateway_hands_out_its_own_description(
    client: aiohttp.ClientSession,
) -> None:
    async with client.get("/openapi.json") as answer:
        check_answer(answer, "/openapi.json", "get")
        assert await answer.read() == openapi.document()
    async with client.get("/metrics") as answer:
        check_answer(answer, "/metrics", "get")


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


@pytest.mark.req("OPS-3")
async def test_an_embedding_is_what_is_described(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/embeddings", json={**MODEL, "input": "hi"}) as answer:
        assert answer.status == 200
        check_answer(answer, "/v1/embeddings", "post")
        # the backend's own members travel on
        validator("EmbeddingList", closed=False).validate(await answer.json())


def check_answer(answer: aiohttp.ClientResponse, path: str, method: str) -> None:
    """Status, content type and every header of Setpoint's own stand in the description."""
    described = DOCUMENT["paths"][path][method]["responses"][str(answer.status)]
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][str(answer.status)]
    assert answer.content_type in described["content"]
    headers = {name.lower() for name in described["headers"]}
    told = {
        name.lower()
        for name in answer.headers
        if name.lower().startswith(("x-", "retry", "openai-", "www-", "allow"))
    }
    assert told - {"x-accel-buffering"} <= headers
