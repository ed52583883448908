"""The records of one gateway: the database, what writes to it, what cleans it, and the tasks in it.

Imports SQLAlchemy and the drivers, so import it only where records are configured. Must stay true: nothing
here ever makes a request wait or fail.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.inference import InferRequest, RoutingPlan
from gateway import logs
from gateway.metrics import Metrics
from gateway.progress import Progress
from gateway.records.database import Database
from gateway.records.execution_store import ExecutionStore
from gateway.records.faults import RecordsDown, RowRefused, SchemaMismatch
from gateway.records.kept import Kept, Room
from gateway.records.recording import Closed, Recorder, outcome
from gateway.records.retention import remove_old
from gateway.records.spill import Spill
from gateway.records.storable import Redact
from gateway.records.task_store import TaskRecords
from gateway.records.writer import DropReason, RecordWriter
from gateway.settings import RecordsSpec

SETTLE_S = 5.0
CLEAN_S = 600.0
BODY_BYTES = 64 * 1024 * 1024
"""Requests and answers that run or wait to be recorded. Beyond that records come without."""


class Records:
    """`start`, then `run` in the background, then `aclose`."""

    def __init__(
        self,
        spec: RecordsSpec,
        *,
        plan: Callable[[Decision, Catalog], RoutingPlan],
        redact: Redact,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._database = Database(spec.database)
        self.tasks = TaskRecords(self._database)
        self._writer = RecordWriter(
            ExecutionStore(self._database),
            Spill(spec.spill),
            Recorder(plan, redact),
            _Counters(metrics),
            clock=clock,
        )
        self._room = Room(BODY_BYTES)
        metrics.before_scrape(lambda: self._show(metrics))

    async def start(self) -> None:
        """Have the schema in place. A database that is down does not keep a gateway from starting.

        Raises SchemaMismatch.
        """
        shown = self._spec.database.shown
        try:
            await self._database.prepare()
        except RecordsDown as exc:
            logs.event(logging.WARNING, "records_unavailable", database=shown, reason=str(exc))
        else:
            logs.event(logging.INFO, "records", database=shown)

    def keep(self, infer: InferRequest) -> Kept | None:
        """Begin to keep what is asked and answered; None where bodies are not recorded. It is to be handed to
        `note`, whatever becomes of the request."""
        return Kept(infer, self._room) if self._spec.bodies else None

    def note(
        self,
        infer: InferRequest,
        decision: Decision,
        progress: Progress,
        catalog: Catalog,
        status: int,
        error: GatewayError | None,
        ended_s: float,
        kept: Kept | None = None,
    ) -> None:
        """A request has met its fate. Nothing of it is held on to but its record, and `kept`."""
        closed = Closed(
            infer.request_id,
            infer.facts,
            decision,
            progress,
            catalog,
            status,
            error.code if error else None,
            outcome(status, error),
            ended_s,
            time.time(),
            kept,
        )
        if not self._writer.add(closed) and kept is not None:
            kept.free()

    async def run(self) -> None:
        """Write, settle and clean until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._writer.run())
            group.create_task(self._keep_order())

    async def aclose(self) -> None:
        """Write what is in memory, to the database or to the spill file; and of tasks what the database
        could not be told when it happened, if it can now: the next gateway goes by what stands there."""
        await self._writer.finish()
        await self._unless_down(self.tasks.settle())
        await self._database.aclose()

    # -- in the background ----------------------------------------------------------------

    async def _keep_order(self) -> None:
        clean_at_s = self._clock()
        while True:
            await self._unless_down(self.tasks.settle())
            if self._clock() >= clean_at_s:
                await self._clean()
                clean_at_s = self._clock() + CLEAN_S
            await asyncio.sleep(SETTLE_S)

    async def _clean(self) -> None:
        try:
            executions, tasks = await remove_old(
                self._database,
                keep_s=self._spec.keep_s,
                max_bytes=self._spec.max_bytes,
                now_s=time.time(),
            )
        except (RecordsDown, SchemaMismatch, RowRefused) as exc:
            logs.event(logging.WARNING, "records_not_removed", reason=str(exc))
            return
        if executions or tasks:
            logs.event(logging.INFO, "records_removed", executions=executions, tasks=tasks)

    async def _unless_down(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (RecordsDown, SchemaMismatch, RowRefused) as exc:
            logs.event(logging.DEBUG, "records_not_kept_in_order", reason=str(exc))

    def _show(self, metrics: Metrics) -> None:
        metrics.gauge("setpoint_records_up").set(self._writer.up)
        metrics.gauge("setpoint_records_waiting").set(self._writer.waiting)
        metrics.gauge("setpoint_records_spilled_bytes").set(self._writer.spilled_bytes)


class _Counters:
    """The writer's counts as metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def written(self, count: int) -> None:
        self._metrics.counter("setpoint_records_written_total").inc(count)

    def dropped(self, reason: DropReason, count: int) -> None:
        self._metrics.counter("setpoint_records_dropped_total", reason).inc(count)
