"""`setpoint replay`: the same text or another one, and why it could not be told."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import cli
from gateway.cli import main
from gateway.records.replay_command import DIFFERS, SAME, UNDONE
from tests.support.llama_server import MODEL, LlamaServer
from tests.support.setpoint_server import Gateway, in_front_of
from tests.support.wire import free_port, post

pytestmark = pytest.mark.req("RUN-9")
Make = Callable[[str], Gateway]
Told = Callable[..., tuple[int, str]]
RECORDS = "records: {url: 'sqlite:///a.db', bodies: true}"


@pytest.fixture(autouse=True)
def _no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.CONFIG_VARIABLE, raising=False)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """`told(gateway, ID, ...)`: the exit code, and all that was printed."""

    def run(gateway: Gateway, *argv: str) -> tuple[int, str]:
        code = main(["replay", *argv, "-c", str(gateway.config_file)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def ask(gateway: Gateway, path: str = "chat/completions", **members: Any) -> str:
    """Ask something; the id of the request."""
    body = {"model": "assistant", "max_tokens": 12, "temperature": 0}
    body["messages"] = [{"role": "user", "content": "Name three colours."}]
    answer = post(f"{gateway.v1}/{path}", body | members)
    assert answer.status == 200, answer
    return answer.headers["x-request-id"]


def policies(folder: Path, tokens: int) -> None:
    (folder / "policies.yaml").write_text(
        f"""\
rules:
  - name: short-answers
    when: request.model == "assistant"
    then: {{max_tokens: {tokens}}}
"""
    )


def edited(gateway: Gateway, old: str, new: str) -> None:
    text = gateway.config_file.read_text()
    assert old in text
    gateway.config_file.write_text(text.replace(old, new))


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_question_has_the_same_answer(
    make_gateway: Make, told: Told, stream: bool
) -> None:
    gateway = make_gateway(RECORDS)
    asked = ask(gateway, stream=stream, seed=7)
    gateway.stop()
    code, text = told(gateway, asked)
    assert (code, text.splitlines()[-1]) == (SAME, "the text is the same")
    assert "ttft" in text


def test_a_real_model_says_the_same_again(
    make_gateway: Make, llama: LlamaServer, told: Told
) -> None:
    gateway = make_gateway(f"{in_front_of('llamacpp', llama)}\n{RECORDS}")
    asked = [
        ask(gateway, model=MODEL, seed=7),
        ask(gateway, "messages", model=MODEL, temperature=0),
    ]
    gateway.stop()
    for name in asked:
        assert told(gateway, name)[0] == SAME


def test_the_recorded_plan_counts_and_not_what_would_be_decided_now(
    make_gateway: Make, told: Told, tmp_path: Path
) -> None:
    policies(tmp_path, 5)
    gateway = make_gateway(f"{RECORDS}\npolicies: policies.yaml")
    asked = ask(gateway)
    gateway.stop()
    policies(tmp_path, 9)
    assert told(gateway, asked)[0] == SAME
    code, text = told(gateway, asked, "--decide")
    assert code == DIFFERS
    assert "max_tokens: 5 -> 9\n" in text
    assert "policies: " in text
    assert "\n--- then\n+++ now\n" in text


def test_what_was_answered_differently_is_shown(
    make_gateway: Make, told: Told, tmp_path: Path
) -> None:
    gateway = make_gateway(RECORDS)
    asked = ask(gateway)
    gateway.stop()
    changed(tmp_path / "a.db", answer=b'{"choices":[{"index":0,"content":"Red."}]}')
    code, text = told(gateway, asked)
    assert code == DIFFERS
    assert "\n-Red.\n" in text


def changed(file: Path, **columns: object) -> None:
    with sqlite3.connect(file) as connection:
        for name, value in columns.items():
            connection.execute(f"UPDATE executions SET {name} = ?", (value,))
    connection.close()


def test_one_that_failed_then_can_be_asked_now(
    make_gateway: Make, told: Told, tmp_path: Path
) -> None:
    gateway = make_gateway(RECORDS)
    asked = ask(gateway)
    gateway.stop()
    changed(tmp_path / "a.db", answer=None, completion_tokens=None, outcome="failed", status=502)
    code, text = told(gateway, asked)
    assert code == DIFFERS
    assert "outcome    failed" in text


def test_without_bodies_it_says_what_would_have_kept_them(make_gateway: Make, told: Told) -> None:
    gateway = make_gateway("records: sqlite:///a.db")
    asked = ask(gateway)
    gateway.stop()
    code, text = told(gateway, asked)
    assert code == UNDONE
    assert "records.bodies was not true at the time" in text


def test_what_cannot_be_asked_is_said_why(make_gateway: Make, told: Told, tmp_path: Path) -> None:
    gateway = make_gateway(RECORDS)
    asked = ask(gateway)
    gateway.stop()
    assert told(gateway, "req_9") == (
        UNDONE,
        "setpoint replay: there is no execution and no request 'req_9' in the records\n",
    )
    closed = f"pools: [{{id: sim, engine: openai, endpoint: 'http://127.0.0.1:{free_port()}'}}]"
    edited(gateway, RECORDS, f"{RECORDS}\n{closed}")
    code, text = told(gateway, asked)
    assert code == UNDONE
    assert "now it failed: 502 upstream_unreachable" in text
    (unready,) = [line for line in text.splitlines() if "endpoint_not_ready" in line]
    assert "sim/1" in unready
    edited(gateway, "id: sim", "id: other")
    code, text = told(gateway, asked)
    assert code == UNDONE
    assert "its plan names pool 'sim', which" in text
    code, text = told(gateway, asked, "--decide")
    assert code == UNDONE
    assert "it would be refused now: " in text
    changed(tmp_path / "a.db", routing_snapshot=None)
    code, text = told(gateway, asked)
    assert code == UNDONE
    assert "there was no plan" in text
    edited(gateway, RECORDS, "")
    code, text = told(gateway, asked)
    assert code == UNDONE
    assert "has no records: add records:" in text


def test_a_refusal_by_a_rule_of_today_is_said(
    make_gateway: Make, told: Told, tmp_path: Path
) -> None:
    gateway = make_gateway(RECORDS)
    asked = ask(gateway)
    gateway.stop()
    (tmp_path / "policies.yaml").write_text(
        "rules: [{name: closed, when: 'true', then: {reject: {message: come back tomorrow}}}]"
    )
    edited(gateway, RECORDS, f"{RECORDS}\npolicies: policies.yaml")
    code, text = told(gateway, asked, "--decide")
    assert code == UNDONE
    assert "it would be refused now: 429: come back tomorrow" in text
    assert told(gateway, asked)[0] == SAME


def test_a_replay_is_not_recorded_itself(
    make_gateway: Make, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = make_gateway(RECORDS)
    asked = ask(gateway)
    gateway.stop()
    assert told(gateway, asked)[0] == SAME
    assert main(["records", "export", "-c", str(gateway.config_file)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["answer"]["choices"][0]["finish_reason"] == "length"
