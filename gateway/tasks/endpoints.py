"""`/v1/tasks`: submit, list, look, stream, cancel. Between HTTP and the desk; decides nothing."""

import asyncio
import time

import msgspec
from aiohttp import web

from contracts.errors import GatewayError, InvalidField
from contracts.tasks import TaskCancelled, TaskList
from gateway.auth import Caller
from gateway.error_answers import ErrorAnswers
from gateway.http_request import ASKED
from gateway.reception import Reception
from gateway.request_record import record_undecided
from gateway.runtime import Gateway
from gateway.tasks.desk import Submitted, TaskDesk, TaskRefused
from gateway.tasks.order import TaskOrder, idempotency_key, read_order
from gateway.tasks.places import PlacesAtOnce
from gateway.tasks.registry import not_found
from gateway.tasks.remembered import Remembered
from gateway.tasks.stream import TaskStream
from gateway.tasks.task import Task

LISTED, LISTED_MOST = 100, 1000
_encode = msgspec.json.Encoder().encode


class TaskEndpoints:
    """The handlers of one gateway. All of them authenticate."""

    def __init__(
        self, gateway: Gateway, errors: ErrorAnswers, reception: Reception, desk: TaskDesk
    ) -> None:
        self._gateway = gateway
        self._errors = errors
        self._reception = reception
        self._desk = desk
        self._heartbeat_s = float(gateway.config.streams.heartbeat)
        self._slow_reader_s = float(gateway.config.limits.slow_reader_timeout)

    async def submit(self, request: web.Request) -> web.Response:
        """202 with its id, once it waits or runs."""
        accepted_s = self._gateway.clock()
        retry = request.headers.get("x-stainless-retry-count")
        try:
            order = await self._order(request)
            work = self._desk.submit(order, client_retry=retry)
            submitted = await self._reception.unless_cut(request[ASKED], work)
        except TaskRefused as exc:
            self._count("refused")
            return self._errors.answer(exc.error, request[ASKED].request_id, exc.headers)
        except (asyncio.CancelledError, ConnectionError):
            record_undecided(self._gateway, request[ASKED], "task", None, accepted_s)
            raise
        except GatewayError as exc:
            self._count("refused")
            record_undecided(self._gateway, request[ASKED], "task", exc, accepted_s)
            raise
        self._count("repeated" if submitted.repeated else "accepted")
        return self._accepted(request, submitted)

    async def list(self, request: web.Request) -> web.Response:
        """What waits and runs, the caller's own or everybody's for the operator; oldest first."""
        caller = self._caller(request)
        state = request.query.get("state")
        if state not in (None, "all"):
            raise InvalidField("state can only be all: what has ended too", param="state")
        limit = _limit(request.query.get("limit", str(LISTED)))
        works = self._desk.registry.seen_by(caller, ended=state == "all")
        newest = sorted(works, key=lambda work: (work.created_s, work.id))[-limit:]
        place_of = PlacesAtOnce()
        return _json(request, TaskList(data=[work.summary(place_of) for work in newest]))

    async def look(self, request: web.Request) -> web.Response:
        work = await self._desk.find(request.match_info["id"], self._caller(request))
        body = work.view_json if isinstance(work, Remembered) else _encode(work.view())
        return _answer(request, body)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Its events, to whoever may read them; `?metrics=1` adds figures once a second."""
        caller = self._caller(request)
        work = await self._desk.find(request.match_info["id"], caller)
        if not isinstance(work, Task | Remembered):
            raise not_found(work.id)  # the answer to a chat goes to its client, and to nobody else
        wants = request.query.get("metrics", "0")
        if wants not in ("0", "1"):
            raise InvalidField("metrics can only be 0 or 1", param="metrics")
        budgets = self._gateway.budgets
        stream = TaskStream(
            request,
            work,
            heartbeat_s=self._heartbeat_s,
            slow_reader_s=self._slow_reader_s,
            clock=self._gateway.clock,
            metrics=(
                (lambda: work.metrics_event(budgets.left(work.caller)))
                if wants == "1" and isinstance(work, Task)
                else None
            ),
        )
        handler = asyncio.current_task()
        assert handler is not None
        self._desk.streams.add(handler)
        try:
            return await stream.answer()
        finally:
            self._desk.streams.discard(handler)

    async def cancel(self, request: web.Request) -> web.Response:
        """Idempotent. Once it has answered, nothing more of it goes out."""
        caller = self._caller(request)
        work_id = request.match_info["id"]
        state = await self._desk.cancel(work_id, caller)
        return _json(request, TaskCancelled(task_id=work_id, state=state))

    async def _order(self, request: web.Request) -> TaskOrder:
        arrival = await self._reception.received(request[ASKED])
        return read_order(
            arrival.body,
            request_id=arrival.request_id,
            key=arrival.caller.name,
            operator=arrival.caller.operator,
            headers=arrival.headers,
            models=self._gateway.catalog.models,
            settings=self._gateway.config.tasks,
            accepted_unix_s=time.time(),
            idempotency_key=idempotency_key(arrival.headers),
        )

    def _accepted(self, request: web.Request, submitted: Submitted) -> web.Response:
        accepted = submitted.accepted
        headers = {
            "x-request-id": request[ASKED].request_id,
            **submitted.headers,
            "Location": f"/v1/tasks/{accepted.task_id}",
        }
        return web.Response(
            status=202,
            body=_encode(accepted),
            headers=headers,
            content_type="application/json",
        )

    def _caller(self, request: web.Request) -> Caller:
        return self._reception.caller(request[ASKED])

    def _count(self, outcome: str) -> None:
        self._gateway.metrics.counter("setpoint_tasks_submitted_total", outcome).inc()


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LISTED_MOST:
        raise InvalidField(f"limit must be a whole number from 1 to {LISTED_MOST}", param="limit")
    return int(text)


def _json(request: web.Request, told: msgspec.Struct) -> web.Response:
    return _answer(request, _encode(told))


def _answer(request: web.Request, body: bytes) -> web.Response:
    return web.Response(
        body=body,
        headers={"x-request-id": request[ASKED].request_id},
        content_type="application/json",
    )
