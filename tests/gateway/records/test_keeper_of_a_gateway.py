"""A real gateway with records: they are there, they hold no secret, and traffic does not wait for them."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import PASSWORD, Postgres
from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway
from tests.support.wire import post

Make = Callable[[str], Gateway]


def ask(gateway: Gateway, text: str = "Hello", **members: Any) -> int:
    body = {"model": "assistant", "max_tokens": 2, "messages": [{"role": "user", "content": text}]}
    return post(f"{gateway.v1}/chat/completions", body | members).status


def rows(file: Path, table: str = "executions") -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]
    connection.close()
    return found


@pytest.mark.req("RUN-7", "RUN-8", "RUN-10")
def test_each_request_leaves_an_execution_and_its_attempts(
    make_gateway: Make, tmp_path: Path
) -> None:
    gateway = make_gateway("records: sqlite:///var/a.db")
    file = tmp_path / "var" / "a.db"
    assert [ask(gateway), ask(gateway, stream=True)] == [200, 200]
    found = eventually(lambda: len(rows(file)) == 2 and rows(file), "both are recorded")
    assert isinstance(found, list)
    for row in found:
        plan = json.loads(row["routing_snapshot"])
        assert plan["targets"][0]["model"] == "assistant"
        assert json.loads(row["actual_cost"])["usd"] == row["cost_usd"] > 0
        assert row["body"] is None
    tries = rows(file, "attempts")
    assert [(a["ordinal"], a["pool"], a["completion_tokens"]) for a in tries] == [(1, "sim", 2)] * 2
    assert gateway.metrics().total("setpoint_records_written_total") == 2


def test_what_a_gateway_has_not_written_yet_it_writes_when_it_stops(
    make_gateway: Make, tmp_path: Path
) -> None:
    gateway = make_gateway("records: sqlite:///a.db")
    assert ask(gateway) == 200
    gateway.stop()
    assert len(rows(tmp_path / "a.db")) == 1
    assert gateway.log("library_message") == [], "the libraries' own affairs are nobody's business"


@pytest.mark.req("SEC-3")
def test_no_token_gets_into_records_or_log(make_gateway: Make, tmp_path: Path) -> None:
    gateway = make_gateway(
        "records: {url: 'sqlite:///a.db', bodies: true}\n"
        "auth: {token: operator-hunter22, keys: [{name: web, token: web-hunter22}]}"
    )
    body = {
        "model": "assistant",
        "max_tokens": 2,
        "user": "web-hunter22",
        "messages": [{"role": "user", "content": "my token is web-hunter22"}],
    }
    headers = {"authorization": "Bearer web-hunter22", "x-mine": "operator-hunter22"}
    assert post(f"{gateway.v1}/chat/completions", body, headers=headers).status == 200
    gateway.stop()
    (row,) = rows(tmp_path / "a.db")
    assert "hunter22" not in str(row)
    assert b"my token is ***" in row["body"]
    for file in tmp_path.iterdir():
        if file.suffix != ".yaml":
            assert b"hunter22" not in file.read_bytes(), file


@pytest.mark.req("RUN-8", "SEC-3")
def test_postgresql_that_dies_and_comes_back_costs_no_request_and_no_record(
    make_gateway: Make, own_postgres: Postgres, tmp_path: Path
) -> None:
    gateway = make_gateway(f"records: {own_postgres.url()}\ntasks: {{durable: true}}")
    assert [ask(gateway) for _ in range(5)] == [200] * 5
    own_postgres.kill()
    assert [ask(gateway) for _ in range(5)] == [200] * 5
    refused = post(f"{gateway.v1}/tasks", {"model": "assistant", "prompt": "x", "max_tokens": 2})
    assert (refused.status, refused.json()["error"]["code"]) == (503, "records_unavailable")
    assert refused.json()["error"]["retriable"] is True
    assert "retry-after" in refused.headers
    eventually(
        lambda: gateway.metrics().total("setpoint_records_spilled_bytes") > 0, "they are spilled"
    )
    assert gateway.metrics().total("setpoint_records_up") == 0
    own_postgres.start()
    chats = "SELECT count(*) FROM executions WHERE operation = 'chat'"
    eventually(lambda: own_postgres.sql(chats) == "10", "all are there")
    eventually(lambda: gateway.metrics().total("setpoint_records_up") == 1, "it is seen to be up")
    accepted = post(f"{gateway.v1}/tasks", {"model": "assistant", "prompt": "x", "max_tokens": 2})
    assert accepted.status == 202
    gateway.stop()
    assert gateway.log("records_dropped") == []
    assert PASSWORD not in gateway.stdout + gateway.stderr
    assert own_postgres.sql("SELECT count(*) FROM tasks") == "1"
    assert not (tmp_path / "setpoint-records.spill.jsonl").exists()


def test_a_database_of_a_newer_version_is_told_at_the_start(
    make_gateway: Make, tmp_path: Path
) -> None:
    make_gateway("records: sqlite:///a.db").stop()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(AssertionError, match="does not know: run the newer version"):
        make_gateway("records: sqlite:///a.db")
