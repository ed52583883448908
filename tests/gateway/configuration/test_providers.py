"""Keys in the environment are pools."""

import pytest

from contracts.problems import ProblemsFound
from gateway.configuration import load


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({}, "https://api.openai.com"),
        ({"OPENAI_BASE_URL": "http://localhost:9/v1"}, "http://localhost:9"),
        ({"OPENAI_BASE_URL": "http://localhost:9/v1/"}, "http://localhost:9"),
        ({"OPENAI_BASE_URL": ""}, "https://api.openai.com"),
    ],
)
def test_a_provider_key_in_the_environment_is_a_pool(env: dict[str, str], endpoint: str) -> None:
    loaded = load(None, env={"OPENAI_API_KEY": "sk-1", **env})
    pool = loaded.pools[1]
    assert (pool.id, pool.engine, pool.endpoints) == ("openai", "openai", (endpoint,))
    assert pool.api_key is not None
    assert pool.api_key.reveal() == "sk-1"
    assert pool.discovers
    assert loaded.catalog.discovering


def test_each_provider_has_a_key_of_its_own_name() -> None:
    keys = {"OPENAI_API_KEY": "k1", "ANTHROPIC_API_KEY": "k2", "GEMINI_API_KEY": "k3"}
    other = {
        "ANTHROPIC_BASE_URL": "http://a.example/",
        "GOOGLE_GEMINI_BASE_URL": "http://g.example",
    }
    for env, endpoints in (
        ({}, ["https://api.anthropic.com", "https://generativelanguage.googleapis.com"]),
        (other, ["http://a.example", "http://g.example"]),
    ):
        pools = load(None, env={**keys, **env}).pools
        assert [(pool.id, pool.engine) for pool in pools[1:]] == [
            ("openai", "openai"),
            ("anthropic", "anthropic"),
            ("gemini", "gemini"),
        ]
        assert [pool.endpoints[0] for pool in pools[2:]] == endpoints
        assert [pool.api_key.reveal() for pool in pools[1:] if pool.api_key] == ["k1", "k2", "k3"]
    alone = load(None, env={"GEMINI_API_KEY": "k3"}).pools
    assert [pool.id for pool in alone] == ["sim", "gemini"]


@pytest.mark.req("SEC-3")
def test_a_wrong_provider_setting_is_named_without_its_value() -> None:
    with pytest.raises(ProblemsFound) as caught:
        load(None, env={"OPENAI_API_KEY": "sk 1", "OPENAI_BASE_URL": "ftp://u:p@h"})
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"OPENAI_API_KEY", "OPENAI_BASE_URL"}
    assert "sk 1" not in str(caught.value)
    assert "u:p" not in str(caught.value)
