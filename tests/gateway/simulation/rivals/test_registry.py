"""Rivals by name."""

import pytest

from gateway.simulation.rivals.registry import RIVALS, make_rival

pytestmark = pytest.mark.req("INT-12")


@pytest.mark.parametrize("name", ["none", "static:1", "static:43", "vegas", "gradient2", "envoy"])
def test_a_rival_is_called_what_it_was_asked_for_by(name: str) -> None:
    assert make_rival(name).name == name


def test_each_call_makes_a_new_one() -> None:
    assert make_rival("vegas") is not make_rival("vegas")


def test_the_number_of_a_static_rival_is_its_limit() -> None:
    assert make_rival("static:43").limit == 43.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "static",
        "static:",
        "static:0",
        "static:-1",
        "static:1.5",
        "static:9999999",
        "Vegas",
        "setpoint",
    ],
)
def test_a_wrong_name_is_told_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match="no rival is called") as refusal:
        make_rival(text)
    assert all(name in str(refusal.value) for name in RIVALS)
