"""Tasks that an earlier run of the gateway left in the store: those that waited wait again, those that
were at work have ended, since a second answer may say something else than what was read of the first.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from contracts.errors import (
    ClientFault,
    GatewayError,
    Interrupted,
    NoReadyBackend,
    RecordsUnavailable,
)
from gateway import logs
from gateway.inference import decided
from gateway.request_record import RequestRecord
from gateway.routing_plan import plan
from gateway.runtime import Gateway, discretion
from gateway.tasks.idempotency import IdempotencyKeys
from gateway.tasks.keeping import log_not_recorded
from gateway.tasks.order import TaskOrder
from gateway.tasks.registry import Registry
from gateway.tasks.remembered import Remembered
from gateway.tasks.restart import check_time, order_of, unrun_view
from gateway.tasks.runner import TaskRunner
from gateway.tasks.store import EndedTask, StoredTask, TaskStore
from gateway.tasks.task import error_event

LOOK_AGAIN_S = 1.0
"""How often it is looked whether a task can be run again."""
_encode = msgspec.json.Encoder().encode


class EarlierRun:
    """`take_up` once. `wall_clock` is Unix time."""

    def __init__(
        self,
        gateway: Gateway,
        store: TaskStore,
        registry: Registry,
        runner: TaskRunner,
        keys: IdempotencyKeys,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._registry = registry
        self._runner = runner
        self._keys = keys
        self._wall_clock = wall_clock
        self._settings = gateway.config.tasks
        self._present = discretion(gateway.loaded).presentable
        self._waiting: set[asyncio.Task[None]] = set()

    async def take_up(self, group: asyncio.TaskGroup) -> None:
        """Begin with all of them; a store that cannot be read is asked again and again."""
        left = await self._left()
        waiting = [stored for stored in left if stored.state == "queued"]
        interrupted = [stored for stored in left if stored.state == "running"]
        for stored in left:
            if stored.idempotency_key is not None:
                place = (stored.caller, stored.idempotency_key)
                self._keys.remember(*place, stored.body_digest, stored.task_id)
        for stored in waiting:
            self._waiting.add(group.create_task(self._run_again(stored)))
        counts = {"waiting": len(waiting), "interrupted": len(interrupted)}
        logs.event(logging.INFO, "tasks_taken_up", **counts)
        for stored in interrupted:
            message = "the task was at work when the gateway went down: submit it again"
            await self._end(stored, Interrupted(message, retry_after_s=1.0))

    def stop(self) -> None:
        """Those that nothing serves yet stay in the store."""
        for waiting in tuple(self._waiting):
            waiting.cancel()

    async def _left(self) -> list[StoredTask]:
        """Says once what is in the way, however long it is: `tasks_taken_up` says when it is over."""
        told = False
        while True:
            try:
                return await self._store.unfinished()
            except RecordsUnavailable as exc:
                if not told:
                    reason = str(exc.__cause__ or exc)
                    logs.event(logging.WARNING, "tasks_not_taken_up", reason=reason)
            except Exception as exc:  # a bug, which must not end the new tasks
                if not told:
                    logs.failure("bug", exc)
            told = True
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _run_again(self, stored: StoredTask) -> None:
        """Under its own id, as soon as something serves it."""
        me = asyncio.current_task()
        assert me is not None
        gateway = self._gateway
        try:
            order = await self._served(stored)
            accepted_s = gateway.clock() - (self._wall_clock() - stored.accepted_s)
            found = decided(gateway, order.infer, accepted_s, job_id=stored.task_id)
            record = found if isinstance(found, RequestRecord) else await found
            task = self._runner.new_task(stored.task_id, order, record)
        except GatewayError as exc:
            await self._end(stored, exc)
            return
        except Exception as exc:  # a bug, which must not end the other tasks
            logs.failure("bug", exc, job_id=stored.task_id)
            await self._end(stored, GatewayError("internal error"))
            return
        finally:
            self._waiting.discard(me)
        await self._runner.run_again(task)

    async def _served(self, stored: StoredTask) -> TaskOrder:
        """Its order, once it can be carried out. Raises GatewayError where it never will be."""
        gateway, settings = self._gateway, self._settings
        while True:
            now_s = self._wall_clock()
            check_time(stored, settings.max_ttl, now_s)
            try:
                order = order_of(
                    stored, models=gateway.catalog.models, settings=settings, unix_s=now_s
                )
                decision = gateway.decide(order.infer.facts, gateway.policy, gateway.catalog)
                targets = plan(decision, gateway.catalog).targets
                if any(gateway.pools[target.pool].ready for target in targets):
                    return order
            except NoReadyBackend:
                pass
            except ClientFault:
                if gateway.ready():
                    raise
                # No backend has told its models yet: the one that it asks for may be among them.
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _end(self, stored: StoredTask, error: GatewayError) -> None:
        """It ends without having run here. Where the store cannot take that, it comes back after the next
        start."""
        error_event(self._present(error))  # as its readers will see it, so its view says the same
        view = unrun_view(stored, error, self._wall_clock())
        body = _encode(view)
        ended = EndedTask(
            task_id=stored.task_id,
            caller=stored.caller,
            idempotency_key=stored.idempotency_key,
            body_digest=stored.body_digest,
            state=view.state,
            view=body,
        )
        self._registry.ended(Remembered.of_store(ended, max_readers=self._settings.readers))
        self._gateway.metrics.counter("setpoint_tasks_ended_total", view.state).inc()
        known = {"job_id": stored.task_id, "key": stored.caller or None}
        logs.event(logging.WARNING, "task_not_run", **known, error=error.code)
        try:
            await self._store.ended(stored.task_id, view.state, body)
        except RecordsUnavailable as exc:
            log_not_recorded(exc, stored.task_id, "ended")
        except Exception as exc:  # a bug, which must not end the other tasks
            logs.failure("bug", exc, job_id=stored.task_id)
