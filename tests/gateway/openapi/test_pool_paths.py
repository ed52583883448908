"""Pools, as they are described."""

import aiohttp
import pytest

from tests.support.described import check_path


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("method", "path", "described", "name"),
    [
        ("GET", "/v1/pools", "/v1/pools", "PoolList"),
        ("GET", "/v1/pools/sim/health", "/v1/pools/{id}/health", "PoolHealth"),
        ("GET", "/v1/pools/no/health", "/v1/pools/{id}/health", "ErrorEnvelope"),
        ("POST", "/v1/pools/sim/drain", "/v1/pools/{id}/drain", "PoolDrain"),
        ("POST", "/v1/pools/sim/drain?wait=x", "/v1/pools/{id}/drain", "ErrorEnvelope"),
        ("POST", "/v1/pools/sim/reload", "/v1/pools/{id}/reload", "PoolHealth"),
    ],
)
async def test_what_paths_answer_is_what_is_described(
    client: aiohttp.ClientSession, method: str, path: str, described: str, name: str
) -> None:
    await check_path(client, method, path, described, name)
