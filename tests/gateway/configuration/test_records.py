"""Where records are kept, and who needs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.configuration import load
from tests.support.configured import load_text, problems


def test_a_url_is_short_for_the_mapping_of_records(tmp_path: Path) -> None:
    short = load_text(tmp_path, "records: sqlite:///var/setpoint.db").records
    assert short == load_text(tmp_path, "records: {url: 'sqlite:///var/setpoint.db'}").records
    assert short is not None
    assert short.database.file == tmp_path / "var" / "setpoint.db"
    assert short.spill == tmp_path / "setpoint-records.spill.jsonl"
    assert (short.bodies, short.keep_s, short.max_bytes) == (False, 30 * 86400, 2**30)
    assert load(None, env={}).records is None


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("text", ["records: {}", "records: {{url: {}}}"])
def test_a_url_of_no_database_is_a_problem_that_does_not_quote_it(
    tmp_path: Path, text: str
) -> None:
    (found,) = problems(tmp_path, text.format("'mysql://web:hunter22@db/setpoint'"))
    assert "expected sqlite:///path/to/file.db or postgresql://" in found
    assert "hunter22" not in found


@pytest.mark.req("RUN-8")
def test_a_bound_that_keeps_nothing_is_a_problem(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "records: {url: 'sqlite:///a.db', max_size: 1KiB}")
    assert found.endswith(
        "records.max_size: keeps next to nothing: a record takes 1 to 2 KiB, and with bodies up to several "
        "MiB (1MiB or more)"
    )
    least = load_text(tmp_path, "records: {url: 'sqlite:///a.db', max_size: 1MiB}").records
    assert least is not None
    assert least.max_bytes == 2**20


def test_durable_tasks_need_records(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "tasks: {durable: true}")
    assert "tasks.durable: durable tasks are kept in the records database" in found
    assert load_text(tmp_path, "tasks: {durable: true}\nrecords: sqlite:///a.db").records


def test_reading_a_configuration_with_records_does_not_import_the_database(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("records: sqlite:///a.db")
    script = (
        "import sys; from pathlib import Path; from gateway.configuration import load\n"
        f"load(Path({str(tmp_path / 'setpoint.yaml')!r}), env={{}})\n"
        "print([m for m in ('sqlalchemy', 'alembic', 'asyncpg', 'sqlite3') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told == "[]\n"
