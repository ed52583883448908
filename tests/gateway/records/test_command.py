"""`setpoint records`: what it prints, and how it exits."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import cli
from gateway.cli import FAILED, OK, REFUSED, main
from gateway.records.command import Refused, since_s
from gateway.records.database import Database
from gateway.records.database_url import parse
from gateway.records.execution_store import ExecutionStore
from tests.fakes.closed import DECISION, FACTS, attempt, closed, kept, progress, recorded


@pytest.fixture(autouse=True)
def _no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.CONFIG_VARIABLE, raising=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "setpoint.yaml"
    file.write_text("records: sqlite:///records.db")
    return str(file)


@pytest.fixture
def filled(tmp_path: Path, config: str) -> str:
    batch = msgspec.structs.replace(DECISION, intent="batch")
    odd = msgspec.structs.replace(FACTS, model="a\x1b[31m", key="")
    rows = [
        recorded(closed(0)),
        recorded(closed(1, decision=batch, kept=kept())),
        recorded(
            closed(
                2,
                facts=odd,
                status=503,
                outcome="refused",
                error_code="queue_timeout",
                progress=progress(attempts=[], usage=None, first_token_s=None, target=None),
            )
        ),
        recorded(closed(3, progress=progress(attempts=[attempt(fault="overload"), attempt()]))),
    ]

    async def fill() -> None:
        database = Database(parse("sqlite:///records.db", tmp_path))
        await ExecutionStore(database).insert(rows)
        await database.aclose()

    asyncio.run(fill())
    return config


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["records", *argv]) == OK
    return capsys.readouterr().out


def exported(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(capsys, "export", *argv).splitlines()]


def test_ls_shows_the_newest_one_a_line(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = run(capsys, "ls", "-c", filled, "--limit", "3").splitlines()
    assert head.split() == [
        *("accepted", "execution", "caller", "intent", "model", "status", "outcome"),
        *("ttft", "e2e", "tokens", "cost"),
    ]
    assert len(lines) == 3
    assert lines[0].startswith("2027-01-15T08:00:03Z  exec_")
    assert lines[0].split()[2:] == [
        *("web", "interactive", "assistant", "200", "completed"),
        *("1000ms", "3000ms", "90+120", "$0.000300"),
    ]
    assert lines[1].split()[2:] == [
        *("-", "interactive", "a?[31m", "503", "queue_timeout", "-", "3000ms", "-", "-"),
    ]


def test_show_tells_all_of_one(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(run(capsys, "show", "-c", filled, "req_1"))
    assert told["accepted"] == "2027-01-15T08:00:01.000Z"
    assert told["body"]["messages"] == [{"role": "user"}]
    assert told["decision"]["intent"] == "batch"
    assert told["attempts"][0]["pool"] == "cluster"
    again = json.loads(run(capsys, "show", "-c", filled, told["execution_id"]))
    assert again == told


@pytest.mark.req("RUN-8")
def test_show_tells_of_a_request_that_only_its_client_could_read(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = (b'"\\ud800"', b"[" * 3000 + b"]" * 3000)
    rows = [recorded(closed(n, kept=kept({"a": msgspec.Raw(one)}))) for n, one in enumerate(odd)]

    async def fill() -> None:
        database = Database(parse("sqlite:///records.db", tmp_path))
        await ExecutionStore(database).insert(rows)
        await database.aclose()

    asyncio.run(fill())
    for number, text in enumerate(odd):
        shown = run(capsys, "show", "--config", config, f"req_{number}")
        assert f'"body":{{"a":{text.decode()}}}' in shown
    assert len(run(capsys, "export", "--config", config).splitlines()) == len(odd)


def test_export_writes_json_lines_oldest_first(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = exported(capsys, "-c", filled)
    assert [row["request_id"] for row in told] == ["req_0", "req_1", "req_2", "req_3"]
    assert [a["fault"] for a in told[3]["attempts"]] == ["overload", None]
    assert told[2]["cost_usd"] is None
    file = tmp_path / "out.jsonl"
    assert run(capsys, "export", "-c", filled, "-o", str(file), "--limit", "2") == ""
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--intent", "batch"], ["req_1"]),
        (["--caller", ""], ["req_2"]),
        (["--status", "503"], ["req_2"]),
        (["--status", "2xx"], ["req_0", "req_1", "req_3"]),
        (["--status", "refused"], ["req_2"]),
        (["--since", "2027-01-15T08:00:02"], ["req_2", "req_3"]),
        (["--since", "2027-01-15T09:00:02+01:00", "--status", "200"], ["req_3"]),
        (["--since", "3000-01-01"], []),
    ],
)
def test_filters(
    filled: str, capsys: pytest.CaptureFixture[str], filters: list[str], expected: list[str]
) -> None:
    told = exported(capsys, "-c", filled, *filters)
    assert [row["request_id"] for row in told] == expected


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["show", "req_9"], FAILED, "there is no execution and no request 'req_9'"),
        (["ls", "--status", "6"], REFUSED, "--status: expected a status such as 503"),
        (["ls", "--since", "noon"], REFUSED, "--since: expected a duration such as 1h"),
        (["export", "-o", "/nowhere/x"], FAILED, "/nowhere/x: No such file"),
    ],
)
def test_what_cannot_be_told_is_said_why(
    filled: str, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    assert main(["records", *argv, "-c", filled]) == code
    assert message in capsys.readouterr().err


def test_where_there_are_no_records_it_says_so_and_makes_none(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["records", "ls"]) == REFUSED
    assert "add records: sqlite:///var/setpoint.db" in capsys.readouterr().err
    assert main(["records", "ls", "-c", config]) == FAILED
    assert "there are no records yet" in capsys.readouterr().err
    (tmp_path / "records.db").touch()
    assert main(["records", "ls", "-c", config]) == FAILED
    assert "`setpoint serve` with this configuration" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_is_a_number_above_zero(
    config: str, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["records", "ls", "-c", config, f"--limit={limit}"])
    assert caught.value.code == 2
    assert "is not a number above 0" in capsys.readouterr().err


def test_since_is_a_duration_ago_or_a_date() -> None:
    assert since_s("1h", 10_000.0) == 6400.0
    assert since_s("1970-01-02", 0.0) == 86_400.0
    with pytest.raises(Refused):
        since_s("", 0.0)


def test_the_command_line_starts_without_the_database() -> None:
    script = (
        "import sys\nfrom gateway.cli import main\n"
        "try: main(['records', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('sqlalchemy', 'alembic', 'asyncpg') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "setpoint records ls --config setpoint.yaml" in done.stdout
