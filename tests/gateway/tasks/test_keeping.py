"""What the store is told of one task, in which order."""

import asyncio

import pytest

from contracts.errors import RecordsUnavailable
from gateway.tasks.keeping import Keeping
from gateway.tasks.store import EndedTask, StoredTask
from tests.fakes.task_store import MemoryStore

pytestmark = [pytest.mark.looptime, pytest.mark.req("OPS-6")]


def stored(task_id: str = "t") -> StoredTask:
    return StoredTask(
        task_id=task_id,
        caller="ada",
        operator=False,
        body=b"{}",
        headers={},
        idempotency_key=None,
        body_digest="d",
        accepted_s=0.0,
    )


def make(store: MemoryStore, started: list[str]) -> Keeping:
    return Keeping(store, stored(), lambda: started.append("started"))


async def test_everything_waits_for_the_acceptance() -> None:
    store, started = MemoryStore(), list[str]()
    keeping = make(store, started)
    async with asyncio.TaskGroup() as group:
        group.create_task(keeping.started())
        await asyncio.sleep(1)
        assert (store.calls, started) == ([], [])
        await keeping.accept()
    await keeping.ended("succeeded", b"{}")
    assert store.told("t") == ["accept", "started", "ended"]
    assert started == ["started"]
    assert isinstance(store.tasks["t"], EndedTask)


async def test_of_one_that_could_not_be_accepted_nothing_more_is_said() -> None:
    store, started = MemoryStore(), list[str]()
    keeping = make(store, started)
    store.down = True
    with pytest.raises(RecordsUnavailable):
        await keeping.accept()
    store.down = False
    assert not await keeping.accepted()
    await keeping.started()
    await keeping.ended("failed", b"{}")
    assert store.told("t") == ["accept"]


async def test_of_one_that_was_refused_the_store_never_hears() -> None:
    store = MemoryStore()
    keeping = make(store, [])
    keeping.drop()
    await keeping.ended("failed", b"{}")
    assert store.calls == []


async def test_a_store_that_fails_does_not_hold_up_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, started = MemoryStore(), list[str]()
    keeping = make(store, started)
    keeping.known()
    store.down = True
    await keeping.started()
    assert started == ["started"]
    await keeping.ended("succeeded", b"{}")
    assert [(r.getMessage(), r.fields["what"], r.exc_info) for r in caplog.records] == [
        ("task_not_recorded", "started", None),
        ("task_not_recorded", "ended", None),
    ], "in words: a database that is down is no bug"
