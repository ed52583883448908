"""`setpoint simulate --records`: what-if on one's own traffic."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import cli
from gateway.cli import OK, REFUSED, main
from gateway.records.database import Database
from gateway.records.database_url import parse
from gateway.records.execution_store import ExecutionStore
from gateway.records.recording import Recorder
from gateway.simulation import recorded_traffic as module
from tests.fakes.closed import FACTS, USAGE, attempt, closed, progress, resolved
from tests.fakes.simulated import ONE_MODEL, files

pytestmark = pytest.mark.req("INT-12")


@pytest.fixture(autouse=True)
def _no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.CONFIG_VARIABLE, raising=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(files(tmp_path, f"{ONE_MODEL}records: sqlite:///a.db\n"))


@pytest.fixture
def filled(tmp_path: Path, config: str) -> str:
    """The configuration of a gateway with 40 executions, one a second."""
    facts = msgspec.structs.replace(FACTS, model="big")
    make = Recorder(resolved, str).rows
    rows = []
    for number in range(40):
        usage = msgspec.structs.replace(USAGE, completion_tokens=10 + number)
        done = progress(usage=usage, attempts=[attempt(usage=usage)])
        rows.append(make(closed(number, facts=facts, progress=done)))

    async def fill() -> None:
        database = Database(parse("sqlite:///a.db", tmp_path))
        await ExecutionStore(database).insert(rows)
        await database.aclose()

    asyncio.run(fill())
    return config


def simulated(folder: Path, *argv: str) -> dict[str, Any]:
    """The results, but for how long they took."""
    file = folder / "result.json"
    assert main(["simulate", *argv, "--json", str(file)]) == OK
    told: dict[str, Any] = json.loads(file.read_bytes())
    del told["wall_s"]
    return told


def test_records_give_the_same_report_as_the_trace_of_the_same_requests(
    filled: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    rows = [f"{number},90,{10 + number},web,chat,big" for number in range(40)]
    head = "arrival_s,input_tokens,output_tokens,tenant,intent,model"
    trace.write_text("\n".join([head, *rows]))
    recorded = simulated(tmp_path, "-c", filled, "--records", "--seed", "3")
    assert recorded["offered"] == 40
    assert recorded == simulated(tmp_path, "-c", filled, "--trace", str(trace), "--seed", "3")
    assert recorded == simulated(tmp_path, "-c", filled, "--records", "--seed", "3")


def test_since_takes_a_part_of_them(filled: str, tmp_path: Path) -> None:
    told = simulated(tmp_path, "-c", filled, "--records", "--since", "2027-01-15T08:00:30")
    assert told["offered"] == 10
    assert told["span_s"] == 9.0


def test_another_database_can_be_named(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = files(tmp_path)  # one without records
    told = simulated(tmp_path, "-c", str(config), "--records", f"sqlite:///{tmp_path}/a.db")
    assert told["offered"] == 40
    assert main(["simulate", "-c", str(config), "--records"]) == REFUSED
    assert "there are no records" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--records", "mysql://x"], "--records"),
        (["--records", "sqlite:////nowhere/a.db"], "there are no records yet"),
        (["--records", "--since", "noon"], "expected a duration such as 1h"),
        (["--records", "--since", "3000-01-01"], "there are no executions to simulate"),
        (["--trace", "t.csv", "--since", "1h"], "--since goes with --records"),
    ],
)
def test_what_cannot_be_simulated_is_said_why(
    filled: str, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main(["simulate", "-c", filled, *argv]) == REFUSED
    assert message in capsys.readouterr().err


@pytest.mark.req("SEC-3")
def test_a_password_in_the_process_list_is_refused(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://me:hunter22@localhost/setpoint"
    assert main(["simulate", "-c", config, "--records", url]) == REFUSED
    told = capsys.readouterr().err
    assert "PGPASSWORD" in told
    assert "hunter22" not in told


def test_too_many_are_refused(
    filled: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 39)
    assert main(["simulate", "-c", filled, "--records"]) == REFUSED
    assert "more than 39 executions" in capsys.readouterr().err


def test_what_was_left_out_is_printed(
    filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(filled).read_text()
    Path(filled).write_text(text.replace("name: big", "name: huge"))
    assert main(["simulate", "-c", filled, "--records"]) == REFUSED
    assert "left out: 40 for models that are not simulated (40 'big')" in capsys.readouterr().err


def test_either_a_trace_or_records(config: str) -> None:
    for argv in ([], ["--records", "--trace", "t.csv"]):
        with pytest.raises(SystemExit):
            main(["simulate", "-c", config, *argv])
