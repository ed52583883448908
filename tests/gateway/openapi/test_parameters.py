"""Parameters."""

import re

import pytest

from gateway.openapi.parameters import header_parameter, path_parameter, query_parameter
from tests.support.described import DOCUMENT


@pytest.mark.req("OPS-3")
def test_what_stands_in_braces_in_a_path_is_a_parameter_of_it() -> None:
    for path, item in DOCUMENT["paths"].items():
        given = item.get("parameters", [])
        assert re.findall(r"{(\w+)}", path) == [p["name"] for p in given if p["in"] == "path"]
        assert all(p["required"] for p in given if p["in"] == "path")


def test_a_parameter_says_where_it_stands_and_what_is_taken() -> None:
    assert header_parameter("x-a", "A.")["in"] == "header"
    assert path_parameter("id", "An id.")["required"] is True
    limit = query_parameter("limit", "How many.", minimum=1)
    assert (limit["in"], limit["schema"]) == ("query", {"type": "integer", "minimum": 1})
