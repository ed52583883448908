"""Many rows at once into SQLite: in one visit, all of them or none."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.records.sqlite_batches import PIECE, SqliteBatches
from tests.gateway.records.visits import counting_visits

INSERT = "INSERT INTO numbers VALUES (?)"


def make(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")


def numbers(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY 1")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    make(tmp_path / "a.db")
    return tmp_path / "a.db"


@pytest.fixture
async def batches(file: Path) -> AsyncIterator[SqliteBatches]:
    made = SqliteBatches(f"file:{file}?mode=rw", busy_s=0.05)
    yield made
    await made.close()


@pytest.mark.req("OPS-4")
async def test_a_batch_is_one_visit_to_its_thread(batches: SqliteBatches, file: Path) -> None:
    with counting_visits() as visits:
        await batches.write([(INSERT, [(n,) for n in range(100)]), (INSERT, iter([(100,)]))])
        assert visits() == 1
    assert numbers(file) == list(range(101))


@pytest.mark.req("OPS-4")
@pytest.mark.parametrize(
    ("rows", "pieces"), [(0, 0), (1, 1), (PIECE, 1), (PIECE + 1, 2), (10 * PIECE, 10)]
)
async def test_a_batch_lets_requests_by_between_its_pieces(
    batches: SqliteBatches, file: Path, monkeypatch: pytest.MonkeyPatch, rows: int, pieces: int
) -> None:
    breaths: list[float] = []
    monkeypatch.setattr("gateway.records.sqlite_batches.sleep", breaths.append)
    await batches.write([(INSERT, ((n,) for n in range(rows)))])
    assert numbers(file) == list(range(rows))
    assert len(breaths) == pieces


@pytest.mark.req("OPS-4")
async def test_a_none_is_null_and_sqlite3_need_not_look_for_what_adapts_it(
    batches: SqliteBatches, file: Path
) -> None:
    assert (type(None), sqlite3.PrepareProtocol) in sqlite3.adapters
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE texts (value BLOB)")
    await batches.write([("INSERT INTO texts VALUES (?)", [(None,), (0,), ("",), (b"",)])])
    with closing(sqlite3.connect(file)) as connection:
        kinds = connection.execute("SELECT typeof(value) FROM texts").fetchall()
    assert kinds == [("null",), ("integer",), ("text",), ("blob",)]


@pytest.mark.req("RUN-8")
async def test_of_a_batch_that_fails_nothing_is_written_and_the_next_one_is(
    batches: SqliteBatches, file: Path
) -> None:
    def broken() -> Any:
        yield (3,)
        raise RuntimeError("a bug")

    for rows, error in (([(1,), (1,)], sqlite3.IntegrityError), (broken(), RuntimeError)):
        with pytest.raises(error):
            await batches.write([(INSERT, [(2,)]), (INSERT, rows)])
        assert numbers(file) == []
    await batches.write([(INSERT, [(4,)])])
    assert numbers(file) == [4]


async def test_another_writer_is_waited_for_but_not_for_ever(
    batches: SqliteBatches, file: Path
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await batches.write([(INSERT, [(1,)])])
    await batches.write([(INSERT, [(1,)])])
    assert numbers(file) == [1]


@pytest.mark.req("RUN-8")
async def test_what_is_written_is_on_disk(batches: SqliteBatches) -> None:
    await batches.write([])
    assert batches._connection is not None
    told = [
        await asyncio.get_running_loop().run_in_executor(
            batches._thread,
            lambda name: batches._connection.execute(f"PRAGMA {name}").fetchone()[0],  # type: ignore[union-attr]
            name,
        )
        for name in ("synchronous", "foreign_keys")
    ]
    assert told == [2, 1]


def replace(file: Path, by: Callable[[Path], object]) -> None:
    file.unlink(missing_ok=True)
    by(file)


async def test_after_closing_it_opens_what_is_there_then_and_makes_no_file(
    batches: SqliteBatches, file: Path
) -> None:
    await batches.write([(INSERT, [(1,)])])
    replace(file, lambda gone: None)
    await batches.close()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await batches.write([(INSERT, [(2,)])])
    replace(file, make)
    await batches.write([(INSERT, [(3,)])])
    assert numbers(file) == [3]
