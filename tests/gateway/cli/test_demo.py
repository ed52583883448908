"""`setpoint demo`: how it exits. What it does is in `tests/gateway/demo/`."""

import pytest

from gateway.cli import REFUSED, main


def test_demo_refuses_a_phase_that_is_too_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "0"]) == REFUSED
    assert capsys.readouterr().err == "setpoint demo: a phase has 10 to 300 seconds, not 0\n"
