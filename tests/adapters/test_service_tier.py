"""A tier of service has OpenAI's name."""

import pytest

from adapters.service_tier import openai_tier

pytestmark = pytest.mark.req("RUN-3")


@pytest.mark.parametrize(
    ("told", "name"), [("standard", "default"), ("priority", "priority"), (None, None)]
)
def test_a_tier_has_openais_name(told: str | None, name: str | None) -> None:
    assert openai_tier(told) == name
