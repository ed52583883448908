"""A task's events as server-sent events: to whoever reads, from wherever it left off.

Must stay true: between taking an event from the log and handing it to the connection nothing else runs,
and the next one is taken only when the connection has passed that one on to the system. So once a task
has been cancelled no reader is sent another token. A reader that leaves does not touch the task.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from contracts.errors import InvalidField
from contracts.tasks import (
    EndEvent,
    ErrorEvent,
    GapEvent,
    MetricsEvent,
    StartedEvent,
    TokenEvent,
)
from gateway import logs
from gateway.http_request import ASKED
from gateway.tasks.log import Ended, Gap, LogEvent, Started, TaskLog, Token
from gateway.tasks.readers import Readers

METRICS_EVERY_S = 1.0
_MAX_ID = 2**53
_encode = msgspec.json.Encoder().encode


class Readable(Protocol):
    """A task, or what is remembered of one."""

    log: TaskLog
    readers: Readers

    @property
    def farewell(self) -> ErrorEvent | None: ...

    def started_event(self) -> StartedEvent: ...


class TaskStream:
    """One reader of one task. `metrics` makes the events that it asked for; None: it did not."""

    def __init__(
        self,
        request: web.Request,
        task: Readable,
        *,
        heartbeat_s: float,
        slow_reader_s: float,
        clock: Callable[[], float],
        metrics: Callable[[], MetricsEvent] | None,
    ) -> None:
        self._request = request
        self._task = task
        self._heartbeat_s = heartbeat_s
        self._slow_reader_s = slow_reader_s
        self._clock = clock
        self._metrics = metrics
        self._metrics_due_s = clock() + METRICS_EVERY_S
        self._cursor = last_event_id(request)

    async def answer(self) -> web.StreamResponse:
        """Until the task's last event. Raises InvalidField, TooManyReaders."""
        log = self._task.log
        if self._cursor > log.last_id or (log.over and self._cursor == log.last_id):
            if not log.over:
                message = f"last-event-id: this task has had {log.last_id} events so far"
                raise InvalidField(message, param="last-event-id")
            return web.Response(status=204)  # tells an EventSource not to come back
        with self._task.readers.join() as news:
            async with sse_response(
                self._request,
                headers={"x-request-id": self._request[ASKED].request_id},
                ping_interval=self._heartbeat_s,
                send_timeout=self._slow_reader_s,
            ) as response:
                if (transport := self._request.transport) is not None:
                    transport.set_write_buffer_limits(high=0)
                await self._tell(response, news)
        response.force_close()  # its write buffer is that of a stream
        return response

    async def _tell(self, response: EventSourceResponse, news: asyncio.Event) -> None:
        while True:
            news.clear()
            event = self._task.log.next(self._cursor)
            if event is not None:
                self._cursor = event.id
                await self._send(response, *self._spelled(event))
                if isinstance(event, Ended):
                    return
            elif (farewell := self._task.farewell) is not None:
                await self._send(response, "error", farewell)
                return
            else:
                await self._wait(news)
            if self._metrics is not None and self._clock() >= self._metrics_due_s:
                self._metrics_due_s = self._clock() + METRICS_EVERY_S
                await self._send(response, "metrics", self._metrics())

    async def _wait(self, news: asyncio.Event) -> None:
        if self._metrics is None:
            await news.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, self._metrics_due_s - self._clock())):
                await news.wait()
        except TimeoutError:
            pass

    def _spelled(self, event: LogEvent) -> tuple[str, msgspec.Struct]:
        match event:
            case Started():
                return "started", self._task.started_event()
            case Token():
                return "token", TokenEvent(t=event.text, i=event.index)
            case Gap():
                return "gap", GapEvent(from_=event.first, to=event.last)
            case Ended():
                return "end" if isinstance(event.event, EndEvent) else "error", event.event

    async def _send(self, response: EventSourceResponse, name: str, data: msgspec.Struct) -> None:
        """Raises ConnectionError where nobody reads any more. Up to the write nothing is awaited that waits:
        see `aiohttp_sse.EventSourceResponse.send` and `aiohttp.http_writer.StreamWriter.write`."""
        try:
            await response.send(_encode(data).decode(), id=str(self._cursor), event=name)
            async with asyncio.timeout(self._slow_reader_s):
                await self._request.writer.drain()
        except TimeoutError as exc:
            logs.event(logging.WARNING, "slow_reader", seconds=self._slow_reader_s)
            if (transport := self._request.transport) is not None:
                transport.abort()
            raise ConnectionResetError("the reader takes nothing") from exc


def last_event_id(request: web.Request) -> int:
    """Where the reader is: the header, or `?last_event_id=` for a browser's first request; 0: nowhere
    yet. Raises InvalidField."""
    text = request.headers.get("last-event-id") or request.query.get("last_event_id") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > _MAX_ID:
        raise InvalidField("last-event-id must be the id of an event", param="last-event-id")
    return int(text)
