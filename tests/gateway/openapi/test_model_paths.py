"""The models, as they are described."""

import aiohttp
import pytest

from tests.support.described import check_path


@pytest.mark.req("OPS-3")
@pytest.mark.parametrize(
    ("method", "path", "described", "name"),
    [
        ("GET", "/v1/models", "/v1/models", "ModelList"),
        ("GET", "/v1/models/assistant", "/v1/models/{id}", "ModelEntry"),
        ("GET", "/v1/models/no/such", "/v1/models/{id}", "ErrorEnvelope"),
    ],
)
async def test_what_paths_answer_is_what_is_described(
    client: aiohttp.ClientSession, method: str, path: str, described: str, name: str
) -> None:
    await check_path(client, method, path, described, name)
