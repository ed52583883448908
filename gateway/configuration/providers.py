"""Providers: where they are, and the pools of those whose key is in the environment."""

from collections.abc import Mapping

from contracts.config import Engine, Pool
from contracts.problems import Position, Problem
from gateway.addresses import endpoint_fault, normal_endpoint
from gateway.configuration.pool_spec import pool_spec
from gateway.secrets import SecretValue
from gateway.settings import PoolSpec

HOSTED: dict[Engine, str] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""Where the providers are whose own dialect an engine is."""
KEYS: dict[Engine, tuple[str, str]] = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"),
}
"""Variables in which each provider's own SDK looks for its key, and for another address."""


def provider_pools(env: Mapping[str, str], problems: list[Problem]) -> list[PoolSpec]:
    """A pool for each provider whose key is in `env`. What is wrong there is added to `problems`."""
    return [spec for engine in KEYS if (spec := _pool(engine, env, problems)) is not None]


def _pool(engine: Engine, env: Mapping[str, str], problems: list[Problem]) -> PoolSpec | None:
    key_name, url_name = KEYS[engine]
    key = env.get(key_name, "").strip()
    if not key:
        return None
    place = Position("the environment")
    base_url = env.get(url_name, "").strip() or HOSTED[engine]
    wrong = endpoint_fault(base_url)
    if wrong:
        problems.append(Problem(position=place, path=url_name, message=wrong))
    if not key.isascii() or not key.isprintable() or " " in key:
        said = "printable ASCII without blanks only"
        problems.append(Problem(position=place, path=key_name, message=said))
    pool = Pool(id=engine, engine=engine)
    return pool_spec(pool, (normal_endpoint(base_url),), SecretValue(key))
