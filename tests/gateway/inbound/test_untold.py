"""What cannot be said as a chat: named, in a form that a header can hold."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from contracts.errors import UnsupportedParameter
from gateway.inbound.untold import MAX_UNTOLD, OTHERS, fit_for_a_header, given, refuse, untold

pytestmark = pytest.mark.req("RUN-2")


def test_null_is_as_good_as_nothing() -> None:
    assert given({"a": Raw(b"null"), "b": Raw(b"0")}) == {"b": Raw(b"0")}


class Part(msgspec.Struct, tag_field="kind", tag="part"):
    said: str = ""
    own: dict[str, Raw] = {}


class Whole(msgspec.Struct):
    parts: list[Part] = []
    one: Part | None = None


def names(members: dict[str, Any]) -> list[str]:
    body = msgspec.json.encode(members)
    return untold(body, msgspec.json.decode(body, type=Whole))


def test_what_is_beyond_what_is_read_is_named_in_its_order() -> None:
    assert names({"z": 1, "parts": [], "a-b": {"c": 1}}) == ["z", "a-b"]
    assert names({"z": None, "one": None}) == []


def test_however_deep_it_is_it_is_named_once() -> None:
    part = {"kind": "part", "said": "x", "more": 1, "own": {"any": {"thing": 1}}}
    members = {"one": {**part, "other": None}, "parts": [part, {"kind": "part"}, part]}
    assert names(members) == ["one.more", "parts.more"]


def test_what_cannot_be_looked_into_is_not_silent_either() -> None:
    body = b'{"one":{"own":{"big":1e999}}}'
    assert untold(body, msgspec.json.decode(body, type=Whole)) == [OTHERS]


def test_names_that_a_header_cannot_hold_are_summed_up() -> None:
    assert fit_for_a_header(["a b", "ok", ""]) == ("ok", OTHERS)
    assert fit_for_a_header([]) == ()


def test_there_is_a_bound() -> None:
    named = fit_for_a_header([f"m{number}" for number in range(MAX_UNTOLD + 1)])
    assert len(named) == MAX_UNTOLD + 1
    assert named[-1] == OTHERS


def test_a_refusal_names_the_member_and_why() -> None:
    error = refuse("container", "nothing is carried out here")
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "container"
    assert "nothing is carried out here" in error.message
