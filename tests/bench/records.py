"""What records cost: on the hot path, and in the background. `python tests/bench/records.py`

The hot path is `Records.note`, called once a request. In the background: making a row, and writing it to SQLite
(and to PostgreSQL, where the wheel is installed) in batches as the gateway does. CPU time of this process, the
drivers' threads included; the best of several rounds.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.metrics import Metrics
from gateway.records.database import Database
from gateway.records.database_url import DatabaseUrl, parse
from gateway.records.execution_store import ExecutionStore
from gateway.records.keeper import Records
from gateway.records.recording import Recorder
from gateway.records.writer import BATCH, WAITING
from gateway.secrets import Redactor, SecretValue
from gateway.settings import RecordsSpec
from tests.fakes.closed import CATALOG, DECISION, INFER, closed, progress, resolved
from tests.support.postgres import Postgres, binaries

ROUNDS = 7
LOOP_STALL_S = 0.001


def redact() -> Callable[[str], str]:
    return Redactor([SecretValue("a-token-of-an-operator"), SecretValue("sk-of-a-backend")]).redact


async def hot_path(folder: Path) -> float:
    """Microseconds a call of `note`."""
    spec = RecordsSpec(
        database=parse("sqlite:///hot.db", folder),
        bodies=False,
        keep_s=1.0,
        max_bytes=1,
        spill=folder / "spill",
    )
    records = Records(spec, plan=resolved, redact=redact(), metrics=Metrics("bench"))
    done, best = progress(), float("inf")
    for _ in range(ROUNDS):
        begun_s = time.process_time()
        for _ in range(WAITING):
            records.note(INFER, DECISION, done, CATALOG, 200, None, 103.0)
        best = min(best, time.process_time() - begun_s)
        records._writer._waiting.clear()
    await records._database.aclose()
    return best / WAITING * 1e6


def row_making() -> float:
    """Microseconds a row."""
    rows = Recorder(resolved, redact()).rows
    best = float("inf")
    for _ in range(ROUNDS):
        begun_s = time.process_time()
        for _ in range(1000):
            rows(closed())
        best = min(best, time.process_time() - begun_s)
    return best / 1000 * 1e6


async def writing(url: DatabaseUrl) -> tuple[float, float, float]:
    """Microseconds of CPU a record, records a second, and the longest stall of the event loop in ms."""
    database = Database(url)
    store, rows = ExecutionStore(database), Recorder(resolved, redact()).rows
    await store.insert([rows(closed()) for _ in range(BATCH)])
    cpu_s = wall_s = float("inf")
    stall_s, stalls_s = 0.0, []

    async def watch() -> None:
        nonlocal stall_s
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(LOOP_STALL_S)
            stall_s = max(stall_s, time.perf_counter() - before_s - LOOP_STALL_S)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        for _ in range(ROUNDS):
            batch = [rows(closed()) for _ in range(BATCH)]
            await asyncio.sleep(0)
            stall_s = 0.0
            begun_s, begun_wall_s = time.process_time(), time.perf_counter()
            await store.insert(batch)
            cpu_s = min(cpu_s, time.process_time() - begun_s)
            wall_s = min(wall_s, time.perf_counter() - begun_wall_s)
            stalls_s.append(stall_s)
        watching.cancel()
    await database.aclose()
    return cpu_s / BATCH * 1e6, BATCH / wall_s, min(stalls_s) * 1e3


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"hot path       {asyncio.run(hot_path(folder)):6.2f} us a request")
        print(f"making a row   {row_making():6.1f} us a record")
        databases = {"SQLite": parse("sqlite:///cold.db", folder)}
        server = Postgres() if binaries() else None
        try:
            if server is not None:
                server.start()
                databases["PostgreSQL"] = parse(server.url(), folder)
            for kind, url in databases.items():
                cpu_us, per_s, stall_ms = asyncio.run(writing(url))
                print(
                    f"{kind:<14} {cpu_us:6.1f} us of CPU a record, {per_s:,.0f} records/s, "
                    f"longest stall of the event loop {stall_ms:.1f} ms"
                )
        finally:
            if server is not None:
                server.remove()


if __name__ == "__main__":
    main()
