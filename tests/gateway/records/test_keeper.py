"""The records of a gateway as a whole."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from contracts.errors import StreamBroken
from gateway.metrics import Metrics
from gateway.records import keeper as module
from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from gateway.records.execution_store import ExecutionStore, Filter
from gateway.records.faults import RecordsDown, SchemaMismatch
from gateway.records.keeper import Records
from gateway.records.recording import TEXT_CHARS
from gateway.secrets import Redactor
from gateway.settings import RecordsSpec
from gateway.tasks.store import EndedTask, StoredTask
from tests.fakes.closed import CATALOG, DECISION, FACTS, INFER, progress, resolved
from tests.support.postgres import Postgres

Make = Callable[..., Records]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made = []

    def build(url: DatabaseUrl | None = None, **members: Any) -> Records:
        fields = {
            "database": url or parse("sqlite:///a.db", tmp_path),
            "bodies": False,
            "keep_s": 1e9,
            "max_bytes": 10**9,
            "spill": tmp_path / "spill",
        }
        records = Records(
            RecordsSpec(**(fields | members)),
            plan=resolved,
            redact=Redactor().redact,
            metrics=Metrics("test"),
        )
        made.append(records)
        return records

    yield build
    for records in made:
        await records.aclose()


def note(records: Records, **members: Any) -> None:
    infer = msgspec.structs.replace(INFER, **members)
    kept = records.keep(infer)
    records.note(infer, DECISION, progress(), CATALOG, 200, None, 103.0, kept)


async def stored(url: DatabaseUrl) -> list[dict[str, Any]]:
    database = Database(url)
    pages = ExecutionStore(database).pages(Filter(), None)
    found = [row async for page in pages for row in page]
    await database.aclose()
    return found


@pytest.mark.req("RUN-8")
async def test_what_was_noted_is_in_the_database_after_the_end(
    make: Make, url: DatabaseUrl
) -> None:
    records = make(url)
    await records.start()
    for number in range(3):
        note(records, request_id=f"r{number}")
    await records.aclose()
    found = await stored(url)
    assert [row["request_id"] for row in found] == ["r0", "r1", "r2"]
    assert found[0]["body"] is None


async def test_a_database_that_is_down_does_not_keep_a_gateway_from_starting(
    make: Make, own_postgres: Postgres, tmp_path: Path
) -> None:
    own_postgres.kill()
    url = parse(own_postgres.url(), tmp_path)
    records = make(url)
    await records.start()
    note(records)
    await records.aclose()
    assert (tmp_path / "spill").stat().st_size > 0
    own_postgres.start()
    records = make(url)
    await records.start()
    running = asyncio.gather(records.run())
    async with asyncio.timeout(30):
        while not await stored(url):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await records.aclose()
    assert not (tmp_path / "spill").exists()


async def test_a_newer_schema_ends_the_start(make: Make, url: DatabaseUrl) -> None:
    database = Database(url)
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await database.writing(lambda connection: connection.execute(newer))
    await database.aclose()
    with pytest.raises(SchemaMismatch):
        await make(url).start()


async def test_bodies_are_kept_only_where_that_is_wanted_and_within_their_bound(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BODY_BYTES", 100)
    records = make(bodies=True)
    large = {"prompt": msgspec.Raw(b'"' + b"a" * 60 + b'"')}
    for _ in range(2):
        note(records, members=large)
    await records._writer.step()
    note(records, members=large)  # the first one has left the memory
    await records.aclose()
    found = await stored(parse("sqlite:///a.db", tmp_path))
    assert [row["body"] is None for row in found] == [False, True, False]
    assert records._room.take(100)
    assert not records._room.take(1)


@pytest.mark.req("SEC-5")
async def test_headers_that_would_fill_the_memory_are_left_out(make: Make, tmp_path: Path) -> None:
    records = make()
    for size in (10, TEXT_CHARS):
        facts = msgspec.structs.replace(FACTS, headers={"x": "a" * size}, user="somebody")
        note(records, facts=facts)
    await records.aclose()
    found = await stored(parse("sqlite:///a.db", tmp_path))
    assert [(r["facts"]["headers"], r["facts"]["user"]) for r in found] == [
        ({"x": "a" * 10}, "somebody"),
        ({}, ""),
    ]


async def test_an_error_is_not_held_on_to(make: Make) -> None:
    records, broken = make(), progress(fault=StreamBroken("cut"))
    records.note(INFER, DECISION, broken, CATALOG, 200, broken.fault, 103.0)
    ((row, _),) = records._writer._waiting
    assert (row.execution.outcome, row.execution.error_code) == ("failed", "upstream_stream_broken")
    holders = gc.get_referrers(broken.fault)
    assert [one for one in holders if one is not broken and not isinstance(one, FrameType)] == []


async def test_the_metrics_show_where_records_are(make: Make) -> None:
    metrics = Metrics("test")
    records = make()
    records._show(metrics)
    note(records)
    records._show(metrics)
    shown = metrics.exposition().decode()
    assert "setpoint_records_waiting 1.0" in shown
    assert "setpoint_records_up 1.0" in shown
    assert "setpoint_records_spilled_bytes 0.0" in shown


async def test_old_records_are_removed_while_it_runs(make: Make, tmp_path: Path) -> None:
    records, url = make(keep_s=1.0), parse("sqlite:///a.db", tmp_path)
    await records.start()
    infer = msgspec.structs.replace(INFER, request_id="r")
    records.note(infer, DECISION, progress(accepted_s=-1e6), CATALOG, 200, None, 103.0)
    await records._writer.step()
    assert len(await stored(url)) == 1
    running = asyncio.gather(records.run())
    async with asyncio.timeout(30):
        while await stored(url):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_old_records_that_cannot_be_removed_are_told(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any, **__: Any) -> tuple[int, int]:
        raise RecordsDown("the disk is full")

    records = make()
    monkeypatch.setattr(module, "remove_old", fails)
    await records._clean()
    (told,) = [r for r in caplog.records if r.getMessage() == "records_not_removed"]
    assert (told.levelname, told.fields) == ("WARNING", {"reason": "the disk is full"})


@pytest.mark.req("OPS-6")
async def test_a_gateway_that_stops_brings_the_ends_of_its_tasks_to_a_database_that_is_back(
    make: Make, own_postgres: Postgres, tmp_path: Path
) -> None:
    url = parse(own_postgres.url(), tmp_path)
    records = make(url)
    task = StoredTask(
        task_id="t",
        caller="web",
        operator=False,
        body=b"{}",
        headers={},
        idempotency_key=None,
        body_digest="d",
        accepted_s=100.0,
    )
    await records.tasks.accept(task)
    own_postgres.kill()
    await records.tasks.ended("t", "succeeded", b"{}")
    own_postgres.start()
    await records.aclose()
    found = await make(url).tasks.find("t")
    assert isinstance(found, EndedTask), "else it would count as interrupted after the next start"
