"""References within the description."""

import re
from typing import Any

import pytest

from contracts.openai_api import ChatRequest
from gateway.openapi.description import document
from gateway.openapi.references import reference
from tests.support.described import DOCUMENT


@pytest.mark.req("OPS-3")
def test_every_reference_leads_somewhere() -> None:
    named = set(re.findall(r'"\$ref": "([^"]+)"', document().decode()))
    assert reference(ChatRequest)["$ref"] in named
    for name in named:
        _, *parts = name.split("/")
        place: Any = DOCUMENT
        for part in parts:
            place = place[part]
