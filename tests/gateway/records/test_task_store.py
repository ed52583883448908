"""Durable tasks: what was accepted survives, whatever the database does meanwhile."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import RecordsUnavailable
from gateway.records import task_store as module
from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from gateway.records.engine import Work
from gateway.records.faults import RecordsDown, RowRefused
from gateway.records.task_store import TaskRecords
from gateway.tasks.store import EndedTask, StoredTask, TaskStore
from tests.support.postgres import Postgres

BODY = b'{"prompt": "\\ud83d\\ude00 h\xc3\xa9llo"}'


def task(task_id: str = "task_1", **members: Any) -> StoredTask:
    fields = {
        "task_id": task_id,
        "caller": "web",
        "operator": False,
        "body": BODY,
        "headers": {"user-agent": "curl", "x-odd": "a\udcffb\0"},
        "idempotency_key": None,
        "body_digest": hashlib.sha256(BODY).hexdigest(),
        "accepted_s": 100.0,
    }
    return StoredTask(**(fields | members))


@pytest.fixture
def store(database: Database) -> TaskStore:
    return TaskRecords(database, now_s=lambda: 200.0)


async def test_what_was_accepted_is_found_as_it_was_by_the_next_process(url: DatabaseUrl) -> None:
    one = Database(url)
    await TaskRecords(one).accept(task(idempotency_key="k"))
    await one.aclose()
    two = Database(url)
    store = TaskRecords(two)
    assert await store.unfinished() == [task(idempotency_key="k")]
    assert await store.find("task_1") == task(idempotency_key="k")
    await two.aclose()


async def test_the_unfinished_come_oldest_first_with_their_state(
    store: TaskStore, database: Database
) -> None:
    for number, accepted_s in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 20.0)):
        await store.accept(task(f"t{number}", accepted_s=accepted_s))
    await store.started("t3")
    await store.ended("t1", "succeeded", b"{}")
    left = await TaskRecords(database).unfinished()
    assert [(t.task_id, t.state) for t in left] == [
        ("t2", "queued"),
        ("t3", "running"),
        ("t4", "queued"),
    ]


async def test_what_this_gateway_has_accepted_itself_is_not_left_by_an_earlier_one(
    database: Database,
) -> None:
    """The database may come back late: then some were accepted before the earlier ones could be read."""
    await TaskRecords(database).accept(task("earlier"))
    store = TaskRecords(database)
    await store.accept(task("own"))
    await store.accept(task("ended"))
    await store.ended("ended", "succeeded", b"{}")
    assert [t.task_id for t in await store.unfinished()] == ["earlier"]
    assert store._own == {"own"}


async def test_an_end_is_for_ever_and_lets_the_body_go(
    store: TaskStore, database: Database
) -> None:
    await store.accept(task())
    await store.ended("task_1", "failed", b'{"state": "failed"}')
    found = await store.find("task_1")
    assert found == EndedTask(
        task_id="task_1",
        caller="web",
        idempotency_key=None,
        body_digest=hashlib.sha256(BODY).hexdigest(),
        state="failed",
        view=b'{"state": "failed"}',
    )
    query = module.tasks.select()
    row = await database.reading(lambda connection: connection.execute(query).mappings().one())
    assert (row["body"], row["headers"], row["ended_s"]) == (None, None, 200.0)


async def test_what_was_never_accepted_is_not_found(store: TaskStore) -> None:
    assert await store.find("task_9") is None
    assert await store.find_key("web", "k") is None
    assert await store.unfinished() == []


async def test_an_idempotency_key_is_its_callers_own(store: TaskStore) -> None:
    await store.accept(task("t1", caller="web", idempotency_key="k"))
    await store.accept(task("t2", caller="app", idempotency_key="k"))
    await store.accept(task("t3", caller="app"))
    await store.accept(task("t4", caller="app"))
    found = [await store.find_key(caller, "k") for caller in ("web", "app", "cli")]
    assert [f and f.task_id for f in found] == ["t1", "t2", None]


async def test_of_one_key_twice_at_once_only_one_is_accepted(
    store: TaskStore, database: Database
) -> None:
    done = await asyncio.gather(
        *(store.accept(task(f"t{n}", idempotency_key="k")) for n in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(d) is RecordsUnavailable for d in done) == [False, True, True, True]
    assert len(await TaskRecords(database).unfinished()) == 1


@pytest.mark.parametrize("key", ["\udcff", "a\0b", "é"])
async def test_any_idempotency_key_can_be_looked_up(store: TaskStore, key: str) -> None:
    await store.accept(task(idempotency_key=key))
    found = await store.find_key("web", key)
    assert found is not None
    assert found.task_id == "task_1"


async def test_without_its_database_every_method_says_so_and_nothing_more(
    own_postgres: Postgres,
) -> None:
    database = Database(parse(own_postgres.url(), Path()))
    store = TaskRecords(database)
    await store.accept(task())
    own_postgres.kill()
    for attempt in (
        store.accept(task("t2")),
        store.started("task_1"),
        store.unfinished(),
        store.find("task_1"),
        store.find_key("web", "k"),
    ):
        with pytest.raises(RecordsUnavailable) as caught:
            await attempt
        assert (caught.value.code, caught.value.status) == ("records_unavailable", 503)
        assert caught.value.retriable
        assert caught.value.message == "the records database is not available"
    await database.aclose()


async def test_an_end_that_could_not_be_written_is_written_later(own_postgres: Postgres) -> None:
    database = Database(parse(own_postgres.url(), Path()))
    store = TaskRecords(database)
    await store.accept(task())
    own_postgres.kill()
    await store.ended("task_1", "succeeded", b"{}")
    own_postgres.start()
    found = await store.find("task_1")
    assert isinstance(found, EndedTask)
    await store.settle()
    again = TaskRecords(database)
    assert await again.unfinished() == []
    assert await again.find("task_1") == found
    await database.aclose()


async def test_ends_wait_within_bounds(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_TASKS", 2)
    monkeypatch.setattr(module, "LATE_BYTES", 10)
    database = Database(parse(own_postgres.url(), Path()))
    store = TaskRecords(database)
    own_postgres.kill()
    with pytest.raises(RecordsUnavailable):
        await store.ended("t0", "succeeded", b"more than ten bytes")
    await store.ended("t1", "succeeded", b"{}")
    await store.ended("t2", "succeeded", b"{}")
    with pytest.raises(RecordsUnavailable):
        await store.ended("t3", "succeeded", b"{}")
    await database.aclose()


async def test_a_task_whose_commit_nobody_heard_of_is_taken_out_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client was told 503: it must not run after the next start."""
    store, writing = TaskRecords(database), database.writing

    async def unheard(work: Work[Any]) -> None:
        await writing(work)
        raise RecordsDown("the connection broke after the commit")

    monkeypatch.setattr(database, "writing", unheard)
    with pytest.raises(RecordsUnavailable):
        await store.accept(task())
    monkeypatch.undo()
    assert len(await TaskRecords(database).unfinished()) == 1
    assert await store.find("task_1") is None
    await store.settle()
    assert await TaskRecords(database).unfinished() == []


async def test_a_task_that_was_cancelled_in_its_commit_is_not_kept(database: Database) -> None:
    """Its client has left, or was told 503: it must not run after the next start."""
    store = TaskRecords(database)
    await database.prepare()
    kept = []
    for turns in range(30):  # cut at each step of the way
        accepting = asyncio.gather(store.accept(task(f"t{turns:02}")))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not accepting.cancel():
            kept.append(f"t{turns:02}")
        await asyncio.gather(accepting, return_exceptions=True)
    found = [await store.find(f"t{turns:02}") for turns in range(30)]
    assert [t.task_id for t in found if t is not None] == kept
    await store.settle()
    assert [t.task_id for t in await TaskRecords(database).unfinished()] == kept


async def test_a_task_that_comes_twice_is_refused_and_the_first_one_stays(
    database: Database,
) -> None:
    store = TaskRecords(database)
    await store.accept(task())
    with pytest.raises(RecordsUnavailable):
        await store.accept(task(caller="app"))
    await store.settle()
    assert await TaskRecords(database).unfinished() == [task()]


async def test_an_end_that_is_refused_does_not_hold_up_those_behind_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = TaskRecords(database)
    for name in ("t1", "t2"):
        await store.accept(task(name, idempotency_key=None))
    write = store._write_end

    async def down(*_: object) -> None:
        raise RecordsDown("down")

    async def refuses(task_id: str, late: module._Late) -> None:
        if task_id == "t1":
            raise RowRefused("too large")
        await write(task_id, late)

    monkeypatch.setattr(store, "_write_end", down)
    for name in ("t1", "t2"):
        await store.ended(name, "succeeded", b"{}")
    monkeypatch.setattr(store, "_write_end", refuses)
    await store.settle()
    assert (store._late, store._late_bytes) == ({}, 0)
    (told,) = [r for r in caplog.records if r.getMessage() == "task_not_recorded"]
    assert told.fields["job_id"] == "t1"
    assert [t.task_id for t in await TaskRecords(database).unfinished()] == ["t1"]


async def test_doubts_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOUBTFUL_TASKS", 2)
    store = TaskRecords(database)
    for number in range(4):
        store._doubt(f"t{number}")
    assert list(store._doubtful) == ["t2", "t3"]
