"""`setpoint explain`: what it shows of a request."""

import io
import json
from pathlib import Path

import pytest

from gateway.cli import FAILED, OK, REFUSED, main
from tests.fakes.edge import chat_body
from tests.support.command_files import body_file, config

UNRATED = (
    "models: [{name: m, pool: sim, quality: 0.9}, {name: b, pool: sim}, {name: c, pool: sim}]\n"
    "routes: {m: [m, b], c: [c, m]}"
)


def test_explain_shows_the_decision_and_the_body(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = body_file(tmp_path)
    assert main(["explain", file, "--header", "x-setpoint-intent=batch"]) == OK
    told = capsys.readouterr().out
    assert "> batch" in told
    assert "batch without a length of its own stays short" in told
    assert "2048" in told
    assert "sim-large" in told


def test_explain_names_the_fallbacks_that_the_floor_keeps_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, UNRATED)
    assert main(["explain", "-c", file, body_file(tmp_path, model="m")]) == OK
    held_back = "b is not tried: it is unrated; the floor of intent interactive is 0.6"
    assert held_back in capsys.readouterr().out
    assert main(["explain", "-c", file, body_file(tmp_path, model="c")]) == OK
    assert "is not tried" not in capsys.readouterr().out


def test_explain_shows_what_would_become_of_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", body_file(tmp_path), "--task"]) == OK
    assert "> background   it came as a task" in capsys.readouterr().out


def test_explain_as_json_from_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = io.BytesIO(chat_body(model="assistant"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(body))
    assert main(["explain", "-", "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["intent"] == "interactive"
    assert told["models"][0] == "assistant"


@pytest.mark.parametrize(
    ("members", "told"),
    [({"model": "asistant"}, "model_not_found"), ({"messages": 5}, "invalid_value")],
)
def test_explain_refuses_as_the_gateway_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], members: dict[str, object], told: str
) -> None:
    assert main(["explain", body_file(tmp_path, **members)]) == REFUSED
    shown = capsys.readouterr()
    assert told in shown.out + shown.err


def test_explain_says_which_file_it_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/nonexistent.json"]) == FAILED
    assert "/nonexistent.json: No such file" in capsys.readouterr().err
