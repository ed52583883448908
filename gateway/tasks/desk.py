"""Where tasks are handed in, found and cancelled, for as long as the gateway lives.

Must stay true: nobody is told 202 before the task waits or runs (and, where it is to be durable, is
kept); a submission that is repeated with its key is the same task. How a task runs is not here.
"""

import asyncio
import hashlib
import secrets
from typing import Any

import msgspec

from contracts.errors import Draining, GatewayError, NoReadyBackend
from contracts.tasks import TaskAccepted, TaskState
from gateway.auth import Caller
from gateway.inference import decided
from gateway.request_record import RequestRecord
from gateway.runtime import Gateway
from gateway.tasks.earlier_run import EarlierRun
from gateway.tasks.idempotency import IdempotencyKeys, reused
from gateway.tasks.order import TaskOrder
from gateway.tasks.registry import Registry, Work, may_see, not_found
from gateway.tasks.remembered import Remembered
from gateway.tasks.runner import TaskRunner
from gateway.tasks.store import EndedTask, TaskStore
from gateway.tasks.task import Task

Headers = dict[str, str]


class TaskRefused(Exception):
    """A task that was decided on and then not taken: `error`, and what its answer's headers tell."""

    def __init__(self, error: GatewayError, headers: Headers) -> None:
        super().__init__(error.message)
        self.error = error
        self.headers = headers


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a submission. `repeated`: its idempotency key had submitted it before."""

    accepted: TaskAccepted
    headers: Headers = {}
    repeated: bool = False


class TaskDesk:
    """One gateway's. `run` it; `submit`, `find` and `cancel` while it runs. To stop: `hand_back`, wait for
    `idle`, `cut`, `close`. Without a store everything is in memory."""

    def __init__(self, gateway: Gateway, store: TaskStore | None = None) -> None:
        settings = gateway.config.tasks
        self._gateway = gateway
        self._settings = settings
        self._store = store
        self._keys = IdempotencyKeys()
        self.registry = Registry(
            keep=settings.keep,
            keep_for_s=settings.keep_for,
            keep_bytes=int(settings.keep_bytes),
            clock=gateway.clock,
            on_forgotten=self._forgotten,
        )
        self._runner = TaskRunner(gateway, self.registry, store)
        self._earlier: EarlierRun | None = None
        if store is not None:
            self._earlier = EarlierRun(gateway, store, self.registry, self._runner, self._keys)
        self._open = False
        self._closing = asyncio.Event()
        self.streams: set[asyncio.Task[Any]] = set()
        """The handlers that send a task's events now."""
        gateway.metrics.before_scrape(self._show)

    # -- as long as the gateway lives ---------------------------------------------------

    async def run(self) -> None:
        """Run tasks until `close`, and until the last end has been recorded. Cancelled, it ends those
        that run."""
        async with asyncio.TaskGroup() as group:
            self._runner.within(group)
            self._open = True
            taking_up = group.create_task(self._earlier.take_up(group)) if self._earlier else None
            try:
                await self._closing.wait()
            finally:
                self._open = False
            if taking_up is not None:
                taking_up.cancel()

    @property
    def idle(self) -> asyncio.Event:
        """Set while no task waits or runs."""
        return self._runner.idle

    def hand_back(self) -> None:
        """The gateway goes down: see `TaskRunner.hand_back`."""
        if self._earlier is not None:
            self._earlier.stop()
        self._runner.hand_back()

    def cut(self) -> None:
        """The gateway can wait no longer: see `TaskRunner.cut`."""
        self._runner.cut()

    def close(self) -> None:
        if self._earlier is not None:
            self._earlier.stop()
        self._closing.set()

    # -- what callers ask for -----------------------------------------------------------

    async def submit(self, order: TaskOrder, *, client_retry: str | None = None) -> Submitted:
        """Take a task, or know it again by its idempotency key.

        Raises TaskRefused for what was decided on; other GatewayErrors for what was not.
        """
        key, caller = order.idempotency_key, order.infer.facts.key
        if key is None:
            return await self._submit(order, client_retry)
        digest = hashlib.sha256(order.body).hexdigest()
        first: Submitted | None = None

        async def submit() -> str:
            nonlocal first
            stored = await self._store.find_key(caller, key) if self._store else None
            if stored is not None:
                if stored.body_digest != digest:
                    raise reused(key)
                return stored.task_id
            first = await self._submit(order, client_retry)
            return first.accepted.task_id

        while True:
            task_id, _ = await self._keys.once(caller, key, digest, submit)
            if first is not None:
                return first
            me = Caller(name=caller, operator=order.operator)
            if (work := self.registry.find(task_id, me)) is None:
                # Whoever knows a task here forgets its key with it; of this one only the store may know.
                self._keys.forget(caller, key, task_id)
                work = await self._known(task_id, me)
            if work is not None:
                return Submitted(accepted=accepted(work), repeated=True)

    async def find(self, work_id: str, caller: Caller) -> Work:
        """Raises TaskNotFound, also for what is somebody else's; RecordsUnavailable."""
        work = await self._known(work_id, caller)
        if work is None:
            raise not_found(work_id)
        return work

    async def cancel(self, work_id: str, caller: Caller) -> TaskState:
        """The state that it is in for ever; when this returns, nothing more of it goes out, and a store
        knows of it. Raises as `find`."""
        work = await self.find(work_id, caller)
        state = work.cancel()
        if isinstance(work, Task):
            await work.settled.wait()
        return state

    async def _known(self, work_id: str, caller: Caller) -> Work | None:
        work = self.registry.find(work_id, caller)
        if work is not None or self._store is None:
            return work
        stored = await self._store.find(work_id)
        if stored is None:
            return self.registry.find(work_id, caller)
        if not may_see(caller, stored.caller):
            raise not_found(work_id)
        if isinstance(stored, EndedTask):
            return Remembered.of_store(stored, max_readers=self._settings.readers)
        if (work := self.registry.find(work_id, caller)) is None:
            message = "the task waits until what serves it can be reached again"
            raise NoReadyBackend(message, retry_after_s=1.0)
        return work  # it came in while the store was asked

    async def _submit(self, order: TaskOrder, client_retry: str | None) -> Submitted:
        self._check_open(order)
        task_id = f"task_{secrets.token_hex(12)}"
        found = decided(
            self._gateway,
            order.infer,
            self._gateway.clock(),
            client_retry=client_retry,
            job_id=task_id,
        )
        if isinstance(found, RequestRecord):
            record = found
        else:
            record = await found
            try:
                self._check_open(order)  # as it may not be any more
            except GatewayError as exc:
                record.close(exc.status, exc)
                raise
        task = self._runner.new_task(task_id, order, record)
        self._runner.start(task)
        try:
            await self._runner.stands(task)
        except asyncio.CancelledError:
            task.abandon()
            raise
        except GatewayError as exc:
            raise TaskRefused(exc, record.error_headers(exc)) from exc
        return Submitted(accepted=accepted(task), headers=record.headers(record.progress))

    def _check_open(self, order: TaskOrder) -> None:
        """Raises GatewayError: nothing is taken, or there is no room for this one."""
        if not self._open or self._gateway.draining:
            raise Draining("this gateway is shutting down", retry_after_s=1.0)
        self._runner.make_room(order)

    # -- what is forgotten, what is counted ---------------------------------------------

    def _forgotten(self, task: Remembered) -> None:
        if task.idempotency_key is not None:
            self._keys.forget(task.caller, task.idempotency_key, task.id)

    def _show(self) -> None:
        tasks, metrics = self.registry.tasks, self._gateway.metrics
        states = [task.state for task in tasks]
        for state in ("queued", "starting", "streaming"):
            metrics.gauge("setpoint_tasks", state).set(states.count(state))
        metrics.gauge("setpoint_task_readers").set(len(self.streams))


def accepted(work: Work) -> TaskAccepted:
    """The answer to whoever submitted it, or submits it again."""
    view = work.view()
    return TaskAccepted(
        task_id=view.id,
        queue_position=view.queue_position,
        predicted_start_ms=view.predicted_start_ms,
        prompt_tokens=view.prompt_tokens,
        prompt_tokens_estimated=view.prompt_tokens_estimated,
    )
