"""Records on their way: bounded, in order, written once or counted as dropped, whatever fails meanwhile."""

import asyncio
import errno
import gc
import itertools
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records import writer as module
from gateway.records.database import Database
from gateway.records.database_url import parse
from gateway.records.execution_store import ExecutionStore, Filter
from gateway.records.faults import RecordsDown, RowRefused
from gateway.records.kept import Kept, Room
from gateway.records.recording import Closed, Recorder
from gateway.records.rows import Recorded, encode_line
from gateway.records.spill import Spill
from gateway.records.writer import RecordWriter
from tests.fakes.closed import INFER, attempt, closed, progress, resolved
from tests.support.postgres import Postgres

HOUR_S = 3600.0


@contextmanager
def small_bounds() -> Iterator[None]:
    """Such as a test reaches in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WAITING", 8)
        patch.setattr(module, "SPILL_AT", 4)
        patch.setattr(module, "BATCH", 3)
        patch.setattr(module, "SLICE", 2)
        yield


@pytest.fixture
def small() -> Iterator[None]:
    with small_bounds():
        yield


class Counts:
    def __init__(self) -> None:
        self.rows = 0
        self.drops: Counter[str] = Counter()

    def written(self, count: int) -> None:
        self.rows += count

    def dropped(self, reason: str, count: int) -> None:
        self.drops[reason] += count


class Memory:
    """A store that fails as it is told: `down`, `deaf` (it writes, and nobody hears so), or neither.
    Records whose number is in `poison` it never takes."""

    def __init__(self, poison: frozenset[int] = frozenset()) -> None:
        self.rows: dict[str, Recorded] = {}
        self.moods: deque[str] = deque()
        self.poison = poison

    async def insert(self, rows: Sequence[Recorded]) -> None:
        await asyncio.sleep(0)
        mood = self.moods.popleft() if self.moods else ""
        if mood == "down":
            raise RecordsDown("down")
        if any(number(row) in self.poison for row in rows):
            raise RowRefused("poison")
        for row in rows:
            self.rows.setdefault(row.execution.execution_id, row)
        if mood == "deaf":
            raise RecordsDown("deaf")


class BrokenSpill(Spill):
    broken = False

    def append(self, lines: list[bytes]) -> int:
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(lines)


def number(row: Recorded) -> int:
    return int(row.execution.request_id.removeprefix("req_"))


class Scene:
    """A writer with a clock of its own. `restart` is a gateway that stops and starts again."""

    def __init__(self, folder: Path, store: Any, *, spill_bytes: int = 10**9) -> None:
        self.file = folder / "spill"
        self.spill_bytes = spill_bytes
        self.store = store
        self.counts = Counts()
        self.now_s = 0.0
        self.added = 0
        self.build()

    def build(self) -> None:
        self.spill = BrokenSpill(self.file, max_bytes=self.spill_bytes)
        self.recorder = Recorder(resolved, str)
        self.writer = RecordWriter(
            self.store, self.spill, self.recorder, self.counts, clock=lambda: self.now_s
        )

    def add(self, count: int) -> None:
        for _ in range(count):
            self.writer.add(closed(self.added))
            self.added += 1

    async def step(self) -> bool:
        self.now_s += HOUR_S
        return await self.writer.step()

    async def restart(self) -> None:
        await self.writer.finish()
        self.build()

    async def until_written(self) -> None:
        self.spill.broken = False
        for _ in range(10_000):
            if not await self.step() and not self.writer.spilled_bytes and not self.writer.waiting:
                return
        raise AssertionError("it never ends")


async def test_records_are_written_in_batches(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory())
    scene.add(1200)
    assert await scene.step()
    assert len(scene.store.rows) == module.BATCH
    await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == list(range(1200))
    assert (scene.counts.rows, scene.counts.drops) == (1200, {})


@pytest.mark.req("OPS-4")
async def test_a_few_that_come_while_a_batch_is_written_gather_before_the_next(
    tmp_path: Path,
) -> None:
    class Busy(Memory):
        async def insert(self, rows: Sequence[Recorded]) -> None:
            await super().insert(rows)
            scene.add(coming.pop())

    coming = [0, module.BATCH, 3]
    scene = Scene(tmp_path, Busy())
    scene.add(1)
    assert not await scene.step(), "three wait, and may have company"
    assert await scene.step(), "there is a whole batch"
    await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == list(range(scene.added))


@pytest.mark.req("RUN-8")
async def test_those_that_wait_behind_what_the_database_did_not_take_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0.001)
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.01)
    scene = Scene(tmp_path, Memory())
    scene.spill.broken = True
    scene.store.moods.append("down")
    scene.add(1)
    await scene.writer.step()
    scene.add(1)
    scene.now_s += HOUR_S
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(scene.writer.run())
        while scene.writer.waiting:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.001)
        running.cancel()
    assert [number(row) for row in scene.store.rows.values()] == [0, 1]


async def test_while_the_database_is_down_records_go_to_the_file_and_come_back_first(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, Memory())
    scene.store.moods.extend(["down"] * 3)
    scene.add(700)
    while await scene.step():
        pass
    assert not scene.writer.up
    assert (scene.writer.waiting, len(scene.store.rows)) == (0, 0)
    assert scene.writer.spilled_bytes > 0
    scene.add(10)
    scene.store.moods.clear()
    await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == list(range(710))
    assert scene.counts.rows == 710


async def test_the_log_says_how_much_waited_in_the_file(
    tmp_path: Path, small: None, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path, Memory())
    scene.store.moods.extend(["down"] * 3)
    scene.add(2)
    while await scene.step():
        pass
    waited_bytes = scene.writer.spilled_bytes
    scene.store.moods.clear()
    with caplog.at_level("INFO"):
        await scene.until_written()
    (told,) = [r for r in caplog.records if r.getMessage() == "records_up"]
    assert told.__dict__["fields"]["spilled_bytes"] == waited_bytes > 0


async def test_a_database_that_is_down_is_asked_ever_less_often(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory())
    scene.store.moods.extend(["down"] * 50)
    asked = []
    for _ in range(2000):
        left = len(scene.store.moods)
        await scene.writer.step()
        if len(scene.store.moods) < left:
            asked.append(scene.now_s)
        scene.add(1)
        scene.now_s += 0.125
    gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert gaps[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0]
    assert set(gaps[5:]) == {15.0}


async def test_one_record_that_is_refused_takes_none_of_its_neighbours_with_it(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, Memory(poison=frozenset({0, 250, 251, 499})))
    scene.add(500)
    await scene.until_written()
    assert len(scene.store.rows) == 496
    assert scene.counts.drops == {"refused": 4}


@pytest.mark.req("RUN-8")
async def test_one_record_at_which_the_store_itself_fails_takes_none_of_its_neighbours_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy(Memory):
        async def insert(self, rows: Sequence[Recorded]) -> None:
            if any(number(row) == 3 for row in rows):
                raise TypeError("a bug")
            await super().insert(rows)

    scene = Scene(tmp_path, Buggy())
    scene.add(7)
    with caplog.at_level("ERROR"):
        await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == [0, 1, 2, 4, 5, 6]
    assert scene.counts.drops == {"refused": 1}
    assert [r.fields["request_id"] for r in caplog.records] == ["req_3"]


@pytest.mark.req("OPS-4")
async def test_a_row_is_made_as_its_request_ends_and_nothing_else_is_held_on_to(
    tmp_path: Path,
) -> None:
    """Later it would have to be fetched into the processor's caches again, some at a stretch."""
    scene = Scene(tmp_path, Memory())
    one = closed(0, progress=progress(attempts=[attempt(), attempt()]))
    holders = sys.getrefcount(one.progress)
    scene.writer.add(one)
    ((row, _),) = scene.writer._waiting
    held = sys.getrefcount(one.progress)
    assert held == holders
    one.progress.attempts.clear()
    await scene.until_written()
    assert list(scene.store.rows.values()) == [row]
    assert len(row.attempts) == 2


@pytest.mark.req("OPS-4")
async def test_rows_that_wait_are_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory())
    scene.add(1)
    ((row, _),) = scene.writer._waiting
    assert not any(map(gc.is_tracked, (row, row.execution, *row.attempts)))


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("down", [False, True])
async def test_bodies_in_the_writers_hands_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, down: bool
) -> None:
    monkeypatch.setattr(module, "HAND_BYTES", 30_000)
    monkeypatch.setattr(module, "SLICE_BYTES", 1)
    scene = Scene(tmp_path, Memory(), spill_bytes=0)
    room = Room(200_000)
    large = {"prompt": msgspec.Raw(b'"' + b"a" * 10_000 + b'"')}
    infer = msgspec.structs.replace(INFER, members=large)
    for turn in range(19):
        scene.writer.add(closed(turn, kept=Kept(infer, room)))
    scene.added = 19
    if down:
        scene.store.moods.extend(["down"])
        await scene.step()
    else:
        await scene.writer._take()
    assert sum(row.execution.row_bytes for row in scene.writer._hand) < 30_000 + 15_000
    assert not room.take(60_000)  # those that wait hold it
    await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == list(range(19))
    assert room.take(200_000)


async def test_bodies_are_encoded_off_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, Memory())
    threads: list[tuple[str, int]] = []

    def seen(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def spied(*arguments: Any) -> Any:
            threads.append((name, threading.get_ident()))
            return real(*arguments)

        return spied

    real = scene.recorder.with_bodies
    monkeypatch.setattr(scene.recorder, "with_bodies", seen("make", real))
    monkeypatch.setattr(module, "encode_line", seen("encode", module.encode_line))
    monkeypatch.setattr(module, "decode_line", seen("decode", module.decode_line))
    scene.store.moods.append("down")
    scene.writer.add(closed(0, kept=Kept(INFER, Room(1000))))
    await scene.until_written()
    assert [name for name, _ in threads] == ["make", "encode", "decode"]
    assert threading.get_ident() not in {thread for _, thread in threads}


async def test_without_room_anywhere_new_ones_are_dropped_and_counted(
    tmp_path: Path, small: None
) -> None:
    scene = Scene(tmp_path, Memory(), spill_bytes=100)
    scene.store.moods.extend(["down"] * 50)
    for _ in range(5):
        scene.add(module.WAITING // 2)
        await scene.step()
    assert scene.writer.waiting <= module.WAITING + module.BATCH
    dropped = scene.counts.drops["buffer_full"]
    assert dropped == scene.added - scene.writer.waiting > 0
    scene.store.moods.clear()
    await scene.until_written()
    assert len(scene.store.rows) == scene.added - dropped


async def test_a_database_slower_than_the_traffic_is_helped_by_the_file(
    tmp_path: Path, small: None
) -> None:
    scene = Scene(tmp_path, Memory())
    for _ in range(20):
        scene.add(module.SPILL_AT)
        await scene.step()
    assert scene.counts.drops == {}
    assert scene.writer.waiting <= module.SPILL_AT + module.BATCH
    await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == list(range(scene.added))


async def test_a_broken_line_of_the_file_is_counted_and_skipped(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory())
    scene.store.moods.extend(["down"])
    scene.add(2)
    await scene.step()
    with scene.file.open("ab") as file:
        file.write(b"[{}, broken\n")
    await scene.restart()
    await scene.until_written()
    assert len(scene.store.rows) == 2
    assert scene.counts.drops == {"unreadable": 1}


async def test_a_gateway_that_stops_leaves_its_records_in_the_file(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory())
    scene.store.moods.extend(["down"] * 50)
    scene.add(1300)
    await scene.writer.finish()
    scene.store.moods.clear()
    scene.build()
    await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == list(range(1300))


async def test_what_a_stopping_gateway_can_put_nowhere_is_counted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory(), spill_bytes=10)
    scene.store.moods.extend(["down"] * 50)
    scene.add(7)
    await scene.writer.finish()
    assert scene.counts.drops == {"stopped": 7}
    assert scene.writer.waiting == 0


async def test_a_write_that_was_cancelled_is_done_again_and_not_twice(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Memory())
    scene.add(3)
    stepping = asyncio.gather(scene.step())
    for _ in range(3):
        await asyncio.sleep(0)
    stepping.cancel()
    await asyncio.gather(stepping, return_exceptions=True)
    await scene.restart()
    await scene.until_written()
    assert len(scene.store.rows) == 3


async def test_a_record_that_cannot_be_made_is_counted_and_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path, Memory())
    make = scene.recorder.rows

    def odd(one: Closed) -> Recorded:
        if one.request_id == "req_1":
            raise ZeroDivisionError
        return make(one)

    monkeypatch.setattr(scene.recorder, "rows", odd)
    with caplog.at_level("ERROR"):
        scene.add(3)
        await scene.until_written()
    assert len(scene.store.rows) == 2
    assert scene.counts.drops == {"refused": 1}
    assert [r.fields["request_id"] for r in caplog.records] == ["req_1"]


async def test_a_record_whose_bodies_cannot_be_put_into_it_is_counted_and_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene, room = Scene(tmp_path, Memory()), Room(1000)
    put = scene.recorder.with_bodies

    def odd(one: Recorded, kept: Kept) -> Recorded:
        if number(one) == 1:
            raise ZeroDivisionError
        return put(one, kept)

    monkeypatch.setattr(scene.recorder, "with_bodies", odd)
    for turn in range(3):
        scene.writer.add(closed(turn, kept=Kept(INFER, room)))
    with caplog.at_level("ERROR"):
        await scene.until_written()
    assert [number(row) for row in scene.store.rows.values()] == [0, 2]
    assert scene.counts.drops == {"refused": 1}
    assert [r.fields["request_id"] for r in caplog.records] == ["req_1"]
    assert room.take(1000)


async def test_records_with_bodies_and_without_keep_their_order(tmp_path: Path) -> None:
    scene, room = Scene(tmp_path, Memory()), Room(100_000)
    for turn in range(200):
        spoken = turn % 7 < 3
        scene.writer.add(closed(turn, kept=Kept(INFER, room) if spoken else None))
    await scene.until_written()
    rows = list(scene.store.rows.values())
    assert [number(row) for row in rows] == list(range(200))
    assert [row.execution.body is not None for row in rows] == [n % 7 < 3 for n in range(200)]


async def test_a_file_that_cannot_be_removed_does_not_keep_a_gateway_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path, Memory())

    def refused() -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(scene.spill, "close", refused)
    scene.add(1)
    await scene.writer.finish()
    assert len(scene.store.rows) == 1
    assert "records_spill_failed" in [r.getMessage() for r in caplog.records]


@pytest.mark.req("RUN-8")
@pytest.mark.looptime
async def test_what_another_gateway_left_is_written_while_nothing_else_happens(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, Memory())
    loop = asyncio.get_running_loop()
    scene.writer._clock = loop.time
    running = loop.create_task(scene.writer.run())
    await asyncio.sleep(1)
    other = Spill(scene.file)
    other.append([encode_line(Recorder(resolved, str).rows(closed(7)))])
    other.close()
    await asyncio.sleep(module.LOOK_S + 1)
    running.cancel()
    assert [number(row) for row in scene.store.rows.values()] == [7]
    assert not scene.file.exists() or scene.file.stat().st_size == 0


@pytest.mark.looptime
async def test_running_writes_what_comes_and_looks_at_a_dead_database_again(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, Memory())
    loop = asyncio.get_running_loop()
    scene.writer._clock = loop.time
    scene.store.moods.extend(["down"] * 3)
    running = loop.create_task(scene.writer.run())
    await asyncio.sleep(1)
    scene.add(5)
    await asyncio.sleep(60)
    scene.add(5)
    await asyncio.sleep(5)
    running.cancel()
    assert [number(row) for row in scene.store.rows.values()] == list(range(10))


actions = st.lists(
    st.tuples(st.just("add"), st.integers(1, 6))
    | st.tuples(st.just("step"), st.integers(1, 3))
    | st.tuples(st.just("moods"), st.lists(st.sampled_from(["", "down", "deaf"]), max_size=6))
    | st.tuples(st.just("restart"), st.none())
    | st.tuples(st.just("broken"), st.booleans()),
    max_size=25,
)


@pytest.mark.req("RUN-8", "SEC-5")
@given(
    actions=actions,
    poison=st.frozensets(st.integers(0, 20), max_size=3),
    lines=st.sampled_from([0, 2, 5, 1000]),
)
def test_over_any_failures_each_record_is_written_once_in_order_or_counted(
    actions: list[tuple[str, Any]],
    poison: frozenset[int],
    lines: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def play() -> None:
        folder = tmp_path_factory.mktemp("writer")
        scene = Scene(folder, Memory(poison), spill_bytes=lines * 2200)
        for kind, value in actions:
            match kind:
                case "add":
                    scene.add(value)
                case "step":
                    for _ in range(value):
                        await scene.step()
                case "moods":
                    scene.store.moods = deque(value)
                case "restart":
                    await scene.restart()
                case "broken":
                    scene.spill.broken = value
            assert scene.writer.waiting <= module.WAITING + module.BATCH
            assert scene.writer.spilled_bytes <= scene.spill_bytes
        scene.store.moods.clear()
        await scene.until_written()
        numbers = [number(row) for row in scene.store.rows.values()]
        assert numbers == sorted(set(numbers))
        missing, dropped = scene.added - len(numbers), sum(scene.counts.drops.values())
        assert missing <= dropped
        # Counted as lost, and there: only where nobody heard of the writing, or it was begun again.
        if not any(kind == "restart" or "deaf" in str(value) for kind, value in actions):
            assert missing == dropped
        told = scene.counts.rows + dropped
        assert told >= scene.added
        if all(kind != "restart" for kind, _ in actions):
            assert told == scene.added
        scene.spill.close()

    with small_bounds():
        asyncio.run(play())


@pytest.mark.req("RUN-8")
async def test_postgresql_killed_under_load_loses_nothing_but_what_the_counter_says(
    own_postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0.001)
    monkeypatch.setattr(module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.05)
    database = Database(parse(own_postgres.url(), tmp_path))
    store = ExecutionStore(database)
    scene = Scene(tmp_path, store)
    scene.writer._clock = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.writer.run())
        for turn in range(300):
            scene.add(20)
            await asyncio.sleep(0.002)
            if turn in (60, 180):
                await asyncio.to_thread(own_postgres.kill)
            if turn in (120, 240):
                await asyncio.to_thread(own_postgres.start)
        async with asyncio.timeout(60):
            while scene.writer.waiting or scene.writer.spilled_bytes:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
        running.cancel()
    found = [row["request_id"] async for page in store.pages(Filter(), None) for row in page]
    assert len(found) == len(set(found)) == scene.added - sum(scene.counts.drops.values())
    assert scene.counts.drops == {}
    await scene.writer.finish()
    await database.aclose()
