"""The coroutine of each task, from its acceptance to its end, and how they are brought down together.

Must stay true: a task that fails hurts no other one; what was accepted ends with one event, or stays in
the store; of what is refused nothing is kept. Who may submit, and what an order is, is the desk's.
"""

import asyncio
import hashlib
from typing import Any

import msgspec

from contracts.errors import Draining, GatewayError, QueueFull
from gateway import logs
from gateway.inference import carry_out, identity, refusal
from gateway.request_record import RequestRecord
from gateway.routing_plan import plan
from gateway.runtime import Gateway, discretion
from gateway.tasks.keeping import Keeping
from gateway.tasks.log import TaskLog
from gateway.tasks.order import TaskOrder
from gateway.tasks.registry import Registry
from gateway.tasks.remembered import Remembered
from gateway.tasks.store import StoredTask, TaskStore
from gateway.tasks.task import Task
from gateway.token_count import PromptCount, check_context, count_prompt

_encode = msgspec.json.Encoder().encode


class TaskRunner:
    """One gateway's. Tasks run in a TaskGroup of the caller's."""

    def __init__(self, gateway: Gateway, registry: Registry, store: TaskStore | None) -> None:
        self._gateway = gateway
        self._settings = gateway.config.tasks
        self._registry = registry
        self._store = store
        self._present = discretion(gateway.loaded).presentable
        self._keepings: dict[str, Keeping] = {}
        self._running: set[str] = set()
        self._body_bytes = 0
        self._group: asyncio.TaskGroup | None = None
        self.idle = asyncio.Event()
        """Set while no task waits or runs."""
        self.idle.set()

    def within(self, group: asyncio.TaskGroup | None) -> None:
        """Where tasks run from now on."""
        self._group = group

    def make_room(self, order: TaskOrder) -> None:
        """Raises QueueFull where the requests of all tasks together take too much memory."""
        most = int(self._settings.bodies)
        if self._body_bytes + len(order.body) > most:
            raise QueueFull(
                f"the requests of all tasks take {self._body_bytes} of at most {most} bytes "
                "(tasks.bodies), and this one has no room beside them",
                retry_after_s=1.0,
            )

    def new_task(self, task_id: str, order: TaskOrder, record: RequestRecord) -> Task:
        settings = self._settings
        log = TaskLog(
            max_events=settings.buffer_events,
            max_bytes=int(settings.buffer),
            held=self._store is not None,
        )
        task = Task(
            task_id,
            order,
            record,
            PromptCount(tokens=order.infer.facts.prompt_tokens, estimated=True, context=None),
            identity=identity(self._gateway, record),
            log=log,
            max_result_bytes=int(settings.result),
            max_readers=settings.readers,
            clock=self._gateway.clock,
            present=self._present,
            on_stands=self._registry.add,
            on_dispatched=self._dispatched,
        )
        if self._store is not None:
            self._keepings[task_id] = Keeping(self._store, _stored(task, order), task.release)
        return task

    def start(self, task: Task) -> None:
        """Run it in a coroutine of its own."""
        assert self._group is not None
        self._begins(task, self._group.create_task(self._run(task), name=task.id))

    async def stands(self, task: Task) -> None:
        """Until it waits or runs, and is kept where it is to be. Raises why it does not."""
        keeping = self._keepings.get(task.id)  # it may be over before it is told that it stands
        await asyncio.shield(task.stands)
        if keeping is not None and self._group is not None:
            await asyncio.shield(self._group.create_task(_accept(keeping, task)))
        if task.unkept is not None:
            raise task.unkept

    async def run_again(self, task: Task) -> None:
        """Run one that the store has from an earlier run of the gateway, here and now."""
        self._keepings[task.id].known()
        task.stands.set_result(None)
        task.record.recorder.accepted = True
        self._registry.add(task)
        runner: asyncio.Task[None] | None = asyncio.current_task()
        assert runner is not None
        self._begins(task, runner)
        await self._run(task)

    # -- all of them, at the end of the gateway -----------------------------------------

    def hand_back(self) -> None:
        """Whoever waits need not wait here any more. With a store they stay in it, and wait again after
        the next start."""
        for task in self._registry.tasks:
            if task.state != "queued":
                continue
            if task.id in self._keepings and not task.dispatched:
                stays = "this gateway is shutting down: the task runs after its next start"
                task.hand_over(Draining(stays, retry_after_s=1.0))
                continue
            again = "this gateway is shutting down: submit the task again"
            if task.conclude("failed", Draining(again, retry_after_s=1.0)):
                task.stop()

    def cut(self) -> None:
        """Whatever still runs ends with an error."""
        message = "this gateway is shutting down and could not wait longer"
        for task in self._registry.tasks:
            if task.conclude("failed", Draining(message, retry_after_s=1.0)):
                task.stop()

    # -- one task -----------------------------------------------------------------------

    def _begins(self, task: Task, runner: asyncio.Task[Any]) -> None:
        self._body_bytes += task.body_bytes
        self._running.add(task.id)
        self.idle.clear()
        task.runner = runner

    async def _run(self, task: Task) -> None:
        """Whatever goes wrong ends this task, and this one only."""
        try:
            await self._carry_out(task)
            fault = task.record.progress.fault
            task.conclude("succeeded" if fault is None else "failed", fault)
        except GatewayError as exc:
            task.conclude("failed", exc)
        except asyncio.CancelledError:
            task.conclude("failed", Draining("this gateway is shutting down", retry_after_s=1.0))
            raise
        except Exception as exc:
            logs.failure("bug", exc, job_id=task.id, request_id=task.record.infer.request_id)
            task.conclude("failed", GatewayError("internal error"))
        finally:
            await self._over(task)

    async def _carry_out(self, task: Task) -> None:
        gateway, record = self._gateway, task.record
        if (refused := refusal(record)) is not None:
            raise refused
        routing = plan(record.decision, record.catalog)
        # A flood is not to keep tokenizers busy with what the queue refuses right after.
        queues = [gateway.pools[target.pool].queue for target in routing.targets]
        if not all(queue.turns_tasks_away for queue in queues):
            task.count = await count_prompt(record.infer, routing, record.catalog, gateway.pools)
            check_context(task.count, record.infer, routing)
        if gateway.draining:
            raise Draining("this gateway is shutting down", retry_after_s=1.0)
        await carry_out(gateway, record, task.sink)

    async def _over(self, task: Task) -> None:
        """Its end, or its leaving: the log line, what is remembered, what the store is told."""
        keeping = self._keepings.get(task.id)
        try:
            task.close_record()
            kept = task.stood and task.farewell is None
            if kept and keeping is not None:
                kept = await keeping.accepted()
            if kept:
                await self._remember(task, keeping)
            else:
                self._registry.drop(task)
                task.refuse()
                if keeping is not None:
                    keeping.drop()
        except Exception as exc:  # a bug, which must not end the other tasks
            self._registry.drop(task)
            logs.failure("bug", exc, job_id=task.id)
        finally:
            self._keepings.pop(task.id, None)
            self._body_bytes -= task.body_bytes
            self._running.discard(task.id)
            task.settled.set()
            if not self._running:
                self.idle.set()

    async def _remember(self, task: Task, keeping: Keeping | None) -> None:
        view = _encode(task.view())
        self._registry.ended(
            Remembered(view, task.log, task.readers, idempotency_key=task.idempotency_key)
        )
        self._gateway.metrics.counter("setpoint_tasks_ended_total", task.state).inc()
        if keeping is not None:
            await keeping.ended(task.state, view)

    def _dispatched(self, task: Task) -> None:
        """The store is told, before any of its tokens may be read."""
        keeping = self._keepings.get(task.id)
        if keeping is not None and self._group is not None:
            self._group.create_task(_mark_started(keeping, task))


async def _accept(keeping: Keeping, task: Task) -> None:
    """Make it durable. Where that fails it is refused, wherever it is by now."""
    try:
        await keeping.accept()
    except GatewayError as exc:
        task.unkept = exc
    except Exception as exc:
        logs.failure("bug", exc, job_id=task.id)
        task.unkept = GatewayError("internal error")
    if task.unkept is not None and task.conclude("failed", task.unkept):
        task.stop()


async def _mark_started(keeping: Keeping, task: Task) -> None:
    try:
        await keeping.started()
    except Exception as exc:  # a bug, which must not end the other tasks
        logs.failure("bug", exc, job_id=task.id)


def _stored(task: Task, order: TaskOrder) -> StoredTask:
    return StoredTask(
        task_id=task.id,
        caller=task.caller,
        operator=order.operator,
        body=order.body,
        headers=order.infer.facts.headers,
        idempotency_key=order.idempotency_key,
        body_digest=hashlib.sha256(order.body).hexdigest(),
        accepted_s=order.accepted_unix_s,
    )
