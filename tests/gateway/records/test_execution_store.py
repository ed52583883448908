"""Executions in the database: the same of SQLite and of PostgreSQL."""

from functools import partial
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from gateway.records import execution_store as module
from gateway.records.database import Database
from gateway.records.execution_store import ExecutionStore, Filter
from gateway.records.faults import RowRefused
from gateway.records.recording import Recorder
from gateway.records.rows import Recorded
from gateway.records.schema import attempts, executions
from tests.fakes.closed import DECISION, FACTS, attempt, closed, kept, progress, recorded, resolved

make = partial(recorded, recorder=Recorder(resolved, str))


def row(number: int, **members: Any) -> Recorded:
    return make(closed(number, **members))


@pytest.fixture
def store(database: Database) -> ExecutionStore:
    return ExecutionStore(database)


async def requests(store: ExecutionStore, limit: int | None = None, **wanted: Any) -> list[str]:
    pages = store.pages(Filter(**wanted), limit)
    return [row["request_id"] async for page in pages for row in page]


@pytest.mark.req("RUN-7", "RUN-8")
async def test_what_was_written_is_read_with_its_attempts(store: ExecutionStore) -> None:
    tries = [attempt(fault="overload", usage=None), attempt()]
    written = row(1, progress=progress(attempts=tries), kept=kept())
    await store.insert([row(0), written, row(2)])
    found = await store.find("req_1")
    assert found is not None
    for name, value in msgspec.structs.asdict(written.execution).items():
        if name in ("facts", "decision", "routing_snapshot", "actual_cost"):
            assert found[name] == msgspec.json.decode(value)
        else:
            assert found[name] == value
    assert [(a["ordinal"], a["fault"]) for a in found["attempts"]] == [(1, "overload"), (2, None)]
    assert await store.find(written.execution.execution_id) == found
    assert await store.find("req_9") is None


async def test_writing_again_changes_nothing(store: ExecutionStore, database: Database) -> None:
    rows = [row(number) for number in range(3)]
    for _ in range(2):
        await store.insert(rows)
    await store.insert([*rows, row(3)])
    for table in (executions, attempts):
        count = sa.select(sa.func.count()).select_from(table)
        assert await database.reading(lambda c, count=count: c.scalar(count)) == 4  # type: ignore[misc]


async def test_of_a_batch_that_is_refused_nothing_is_written(store: ExecutionStore) -> None:
    good = row(1)
    bad = Recorded(msgspec.structs.replace(good.execution, execution_id="e", caller=None))  # type: ignore[arg-type]
    with pytest.raises(RowRefused):
        await store.insert([good, bad])
    assert await requests(store) == []
    await store.insert([])


async def test_a_request_id_that_came_twice_is_found_as_the_newest(store: ExecutionStore) -> None:
    old, new = row(1), row(1, wall_s=1_900_000_000.0)
    await store.insert([new, old])
    found = await store.find("req_1")
    assert found is not None
    assert found["execution_id"] == new.execution.execution_id


async def test_the_newest_come_first_and_brief(store: ExecutionStore) -> None:
    await store.insert([row(number) for number in (2, 0, 1)])
    found = await store.newest(Filter(), 2)
    assert [r["request_id"] for r in found] == ["req_2", "req_1"]
    assert set(found[0]) == module.BRIEF


async def test_filters(store: ExecutionStore) -> None:
    batch = msgspec.structs.replace(DECISION, intent="batch")
    other = msgspec.structs.replace(FACTS, key="app")
    await store.insert(
        [
            row(0),
            row(1, decision=batch),
            row(2, facts=other, status=503, outcome="refused"),
            row(3, status=429, outcome="refused"),
        ]
    )
    assert await requests(store, intent="batch") == ["req_1"]
    assert await requests(store, caller="app") == ["req_2"]
    assert await requests(store, since_s=1_800_000_002.0) == ["req_2", "req_3"]
    assert await requests(store, status=(500, 599)) == ["req_2"]
    assert await requests(store, outcome="refused", caller="web") == ["req_3"]
    assert [r["request_id"] for r in await store.newest(Filter(status=(200, 200)), 9)] == [
        "req_1",
        "req_0",
    ]


@pytest.mark.parametrize("limit", [None, 1, 3, 4, 7, 20])
async def test_pages_leave_none_out_and_repeat_none(
    store: ExecutionStore, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    # all at the same moment, so that only their ids tell them apart
    rows = [row(number, wall_s=1_800_000_000.0) for number in range(10)]
    await store.insert(rows[::-1])
    assert await requests(store, limit) == [f"req_{n}" for n in range(10)][:limit]
