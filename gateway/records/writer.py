"""Records on their way to the database: their rows are made at once, and written in batches later.

Must stay true: a request never waits for its record; everything between here and the database is bounded;
records are written in the order they came; and each one that was taken is written once, or counted as
dropped. While the database is down they go to a file (`spill`), and from there to the database before any
newer one. Only when neither takes them are new ones dropped.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Literal, Protocol

import msgspec

from gateway import logs
from gateway.records.faults import RecordsDown, RowRefused, SchemaMismatch
from gateway.records.kept import Kept
from gateway.records.recording import Closed
from gateway.records.rows import Recorded, decode_line, encode_line
from gateway.records.spill import Spill

WAITING = 10_000
"""Records that nobody has begun to write."""
SPILL_AT = WAITING // 2
"""As many wait only if the database is slower than the traffic: the file is faster."""
BATCH = 500
HAND_BYTES = 16 * 1024 * 1024
"""In the hand a row more is taken up to that; of the file, as much is read at once."""
SLICE = 32
SLICE_BYTES = 256 * 1024
"""Rows into which requests and answers are put, and bytes of those, at a stretch of a thread."""
GATHER_S = 0.25
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 15.0
LOOK_S = 600.0
"""Between two looks for files of other gateways that have ended."""
FINISH_S = 5.0

DropReason = Literal["buffer_full", "refused", "unreadable", "stopped"]
"""Nowhere to put it; the database will never take it; a line of the file is broken; the gateway stopped
while neither database nor file could be written."""


class Store(Protocol):
    """Where records end up."""

    async def insert(self, rows: Sequence[Recorded]) -> None:
        """Write all of them or none; what is there already is left as it is. Raises RecordsDown (they may
        have been written), RowRefused, SchemaMismatch."""
        ...


class Rows(Protocol):
    """Makes rows. May fail: a row that cannot be made is dropped."""

    def rows(self, closed: Closed) -> Recorded: ...

    def with_bodies(self, recorded: Recorded, kept: Kept) -> Recorded:
        """The same with what was asked and answered. On any thread."""
        ...


class Counts(Protocol):
    """Who is told what becomes of records."""

    def written(self, count: int) -> None: ...

    def dropped(self, reason: DropReason, count: int) -> None: ...


class RecordWriter:
    """`add` from anywhere on the event loop; one task in `run`; then `finish`."""

    def __init__(
        self,
        store: Store,
        spill: Spill,
        rows: Rows,
        counts: Counts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._spill = spill
        self._rows = rows
        self._counts = counts
        self._clock = clock
        self._waiting: deque[tuple[Recorded, Kept | None]] = deque()
        self._hand: list[Recorded] = []
        """Taken from `_waiting`, and not yet anywhere else."""
        self._back: list[Recorded] = []
        """Read from the file, and not yet in the database."""
        self._back_to = 0
        self._wake = asyncio.Event()
        self._look_at_s = clock()
        self._retry_at_s = 0.0
        self._retry_s = 0.0
        """0: the database is well."""
        self._unlogged: dict[DropReason, int] = {}
        self._spill_failed = False

    # -- the hot path -------------------------------------------------------------------

    def add(self, closed: Closed) -> bool:
        """Make a record of it and take that, or drop it where there is no room: then False. Never waits, nor raises."""
        if len(self._waiting) >= WAITING:
            self._dropped("buffer_full", 1)
            return False
        try:
            row = self._rows.rows(closed)
        except Exception as exc:
            self._unmade(closed.request_id, exc)
            return False
        self._waiting.append((row, closed.kept))
        self._wake.set()
        return True

    # -- what is told of it -------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the database took what it was last given."""
        return self._retry_s == 0

    @property
    def waiting(self) -> int:
        """Records in memory."""
        return len(self._waiting) + len(self._hand)

    @property
    def spilled_bytes(self) -> int:
        return self._spill.waiting_bytes

    # -- in the background --------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            if await self.step():
                continue
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(GATHER_S)

    async def step(self) -> bool:
        """One batch forward. Whether there is more to do at once: a few records that came meanwhile gather first, or
        there would be a transaction for every few."""
        self._wake.clear()
        if self._clock() >= self._look_at_s:
            await self._look_for_left_ones()
        if not self._hand:
            await self._take()
        if self._clock() >= self._retry_at_s:
            await self._to_database()
        if not self.up:
            await self._to_file()
        while len(self._waiting) > SPILL_AT:
            await self._take()
            if not await self._to_file():
                break
        self._log_drops()
        if self.up:
            if self._waiting:
                self._wake.set()
            return bool(self._hand or len(self._waiting) >= BATCH or self._spill.waiting_bytes)
        return bool(self._waiting and not self._hand)

    async def finish(self) -> None:
        """Bring what is in memory to the database, or to the file. At most `FINISH_S`, as a rule."""
        try:
            async with asyncio.timeout(FINISH_S):
                while self.waiting and self.up and not self._spill.waiting_bytes:
                    await self.step()
        except TimeoutError:
            pass
        while self.waiting:
            if not self._hand:
                await self._take()
            if not await self._to_file():
                break
        self._dropped("stopped", self.waiting)
        self._waiting.clear()
        self._hand.clear()
        self._log_drops()
        try:
            self._spill.close()
        except OSError as exc:
            self._spill_trouble(exc)

    def _pause_s(self) -> float:
        until_s = self._look_at_s if self.up else min(self._look_at_s, self._retry_at_s)
        return max(0.0, until_s - self._clock())

    async def _take(self) -> None:
        """Fill the hand."""
        held_bytes = sum(row.execution.row_bytes for row in self._hand)
        while self._waiting and len(self._hand) < BATCH and held_bytes < HAND_BYTES:
            row, kept = self._waiting[0]
            if kept is None:
                self._waiting.popleft()
                self._hand.append(row)
                held_bytes += row.execution.row_bytes
            else:
                held_bytes += await self._take_bodies(BATCH - len(self._hand))

    async def _take_bodies(self, most: int) -> int:
        """The first ones that wait, as far as something is to be put into their rows: in a thread, since that is
        long. How many bytes they are. Who is cancelled meanwhile does it again."""
        part = self._next_slice(most)
        taken_bytes = 0
        made = await asyncio.to_thread(self._put_bodies, part)
        for (row, kept), whole in zip(part, made, strict=True):
            self._waiting.popleft()
            kept.free()
            if isinstance(whole, Recorded):
                self._hand.append(whole)
                taken_bytes += whole.execution.row_bytes
            else:
                self._unmade(row.execution.request_id, whole)
        return taken_bytes

    def _next_slice(self, most: int) -> list[tuple[Recorded, Kept]]:
        part: list[tuple[Recorded, Kept]] = []
        size = 0
        for row, kept in islice(self._waiting, min(SLICE, most)):
            if kept is None or size >= SLICE_BYTES:
                break
            part.append((row, kept))
            size += kept.size
        return part

    def _put_bodies(self, part: list[tuple[Recorded, Kept]]) -> list[Recorded | Exception]:
        """Their rows, or why there is none: all the others still have to be written."""
        made: list[Recorded | Exception] = []
        for row, kept in part:
            try:
                made.append(self._rows.with_bodies(row, kept))
            except Exception as exc:
                made.append(exc)
        return made

    def _unmade(self, request_id: str, exc: Exception) -> None:
        """A bug of ours that this request has found."""
        self._dropped("refused", 1)
        logs.failure("record_refused", exc, request_id=request_id)

    # -- to the database ----------------------------------------------------------------

    async def _look_for_left_ones(self) -> None:
        """Of gateways that ended without a successor."""
        self._look_at_s = self._clock() + LOOK_S
        try:
            await asyncio.to_thread(self._spill.take_up)
        except OSError as exc:
            self._spill_trouble(exc)

    async def _to_database(self) -> None:
        spilled_bytes = self._spill.waiting_bytes
        try:
            if self._back or self._spill.waiting_bytes:
                await self._write_back()
            elif self._hand:
                await self._write(self._hand)
            elif self.up:
                return
            else:
                await self._store.insert(())
        except (RecordsDown, SchemaMismatch) as exc:
            self._down(exc)
        except OSError as exc:
            self._spill_trouble(exc)
            self._down(exc)
        else:
            self._is_up(spilled_bytes)

    async def _write(self, rows: list[Recorded]) -> None:
        """Write `rows` and take them out of the list, from its beginning. One that is refused is looked
        for by halves, so that it takes none of its neighbours with it. Raises RecordsDown."""
        size = len(rows)
        while rows:
            part = rows[:size]
            try:
                await self._store.insert(part)
            except (RecordsDown, SchemaMismatch):
                raise
            except Exception as exc:  # RowRefused, or a bug of ours that some row has found
                size = len(part) // 2
                if size == 0:
                    self._refused(part[0], exc)
                    del rows[0]
                    size = 1
            else:
                self._counts.written(len(part))
                del rows[: len(part)]
                size *= 2

    async def _write_back(self) -> None:
        if not self._back:
            self._back, broken, self._back_to = await asyncio.to_thread(self._read_back)
            self._dropped("unreadable", broken)
        await self._write(self._back)
        await asyncio.to_thread(self._spill.forget, self._back_to)

    def _read_back(self) -> tuple[list[Recorded], int, int]:
        """Rows of the file, how many lines were broken, and what `forget` is to be told."""
        lines, read_to = self._spill.read(BATCH, HAND_BYTES)
        rows: list[Recorded] = []
        for line in lines:
            try:
                rows.append(decode_line(line))
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                continue
        return rows, len(lines) - len(rows), read_to

    def _refused(self, row: Recorded, exc: Exception) -> None:
        self._dropped("refused", 1)
        ids = {
            "request_id": row.execution.request_id,
            "execution_id": row.execution.execution_id,
        }
        if isinstance(exc, RowRefused):
            logs.event(logging.ERROR, "record_refused", **ids, reason=str(exc))
        else:
            logs.failure("record_refused", exc, **ids)

    def _down(self, exc: Exception) -> None:
        if self.up:
            logs.event(logging.WARNING, "records_down", reason=str(exc))
        self._retry_s = min(RETRY_MAX_S, self._retry_s * 2 or RETRY_FIRST_S)
        self._retry_at_s = self._clock() + self._retry_s

    def _is_up(self, spilled_bytes: int) -> None:
        """`spilled_bytes` waited in the file when it came back."""
        if not self.up:
            logs.event(logging.INFO, "records_up", spilled_bytes=spilled_bytes)
        self._retry_s = self._retry_at_s = 0.0

    # -- to the file --------------------------------------------------------------------

    async def _to_file(self) -> bool:
        """What is in the hand, as far as the file takes it; the rest stays. Whether all of it went."""
        if not self._hand:
            return True
        try:
            kept = await asyncio.to_thread(self._append, tuple(self._hand))
        except OSError as exc:
            self._spill_trouble(exc)
            return False
        del self._hand[:kept]
        if not self._hand:
            self._spill_failed = False
        elif not self._spill_failed:
            self._spill_failed = True
            logs.event(logging.WARNING, "records_spill_full", bytes=self._spill.waiting_bytes)
        return not self._hand

    def _append(self, rows: Sequence[Recorded]) -> int:
        return self._spill.append([encode_line(row) for row in rows])

    def _spill_trouble(self, exc: OSError) -> None:
        if not self._spill_failed:
            self._spill_failed = True
            logs.event(logging.WARNING, "records_spill_failed", reason=exc.strerror or str(exc))

    # -- what is lost -------------------------------------------------------------------

    def _dropped(self, reason: DropReason, count: int) -> None:
        if count:
            self._counts.dropped(reason, count)
            self._unlogged[reason] = self._unlogged.get(reason, 0) + count

    def _log_drops(self) -> None:
        """One line a step, not one a record."""
        for reason, count in self._unlogged.items():
            logs.event(logging.WARNING, "records_dropped", reason=reason, count=count)
        self._unlogged.clear()
