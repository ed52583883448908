"""The gateway itself, as it is described."""

from pathlib import Path

import aiohttp
import msgspec
import pytest

from gateway.openapi.description import document
from gateway.runtime import Gateway
from tests.support.described import check_answer, check_path, validator


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("method", "path", "described", "name"),
    [
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
    await check_path(client, method, path, described, name)


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
        assert await answer.read() == document()
    async with client.get("/metrics") as answer:
        check_answer(answer, "/metrics", "get")
