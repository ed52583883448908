"""What cannot be said as a chat: named, in a form that a header can hold."""

import pytest
from msgspec import Raw

from contracts.errors import UnsupportedParameter
from gateway.inbound.untold import MAX_UNTOLD, OTHERS, given, refuse, untold

pytestmark = pytest.mark.req("RUN-2")


def test_null_is_as_good_as_nothing() -> None:
    assert given({"a": Raw(b"null"), "b": Raw(b"0")}) == {"b": Raw(b"0")}


def test_what_is_beyond_what_is_told_is_named_in_its_order() -> None:
    members = {name: Raw(b"1") for name in ("z", "told", "a-b")}
    assert untold(members, {"told"}) == ("z", "a-b")
    assert untold(members, members) == ()


def test_names_that_a_header_cannot_hold_are_summed_up() -> None:
    assert untold({"a b": Raw(b"1"), "ok": Raw(b"1"), "": Raw(b"1")}, ()) == ("ok", OTHERS)


def test_there_is_a_bound() -> None:
    many = {f"m{number}": Raw(b"1") for number in range(MAX_UNTOLD + 1)}
    named = untold(many, ())
    assert len(named) == MAX_UNTOLD + 1
    assert named[-1] == OTHERS


def test_a_refusal_names_the_member_and_why() -> None:
    error = refuse("container", "nothing is carried out here")
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "container"
    assert "nothing is carried out here" in error.message
