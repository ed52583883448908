"""The headers of answers."""

import re

import pytest

from gateway.openapi.description import document
from gateway.openapi.headers import HEADERS, TOLD
from tests.support.described import DOCUMENT


@pytest.mark.req("OPS-3")
def test_every_described_header_is_one_of_an_answer() -> None:
    used = set(re.findall(r'"\$ref": "#/components/headers/([^"]+)"', document().decode()))
    assert used == set(HEADERS) == set(DOCUMENT["components"]["headers"])
    assert set(TOLD) <= used
