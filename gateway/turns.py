"""The requests of one connection, one after the other, in the connection's own task.

aiohttp's parser, and aiohttp's way with every request but those of `direct`, which go to their handlers past its
router. Its own loop, which this replaces, makes a second task, a `web.Request` and a response of some sixty steps
for each. Must stay true: answers come in the order of their requests, whichever way each goes; a client that
leaves, or whoever cancels the task, ends the handler that runs; a body that nobody wanted is read on for a while,
so that its client sees the answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError, RawRequestMessage, StreamWriter
from aiohttp.web_protocol import ERROR

from gateway.afterwards import Afterwards
from gateway.http_answer import HttpAnswer
from gateway.http_request import ASKED, HttpRequest

HELD_BYTES = 64 * 1024
"""A longer answer goes out at once: only then can its slow reader be seen."""
Direct = Callable[[HttpRequest], Awaitable[HttpAnswer]]
"""A handler: its answer, which it may have begun or sent already. Raises nothing but ConnectionError and
CancelledError, for a client that has left."""


class Turns(web.RequestHandler):
    """While it is `answering`, a request's answer is not complete; `answered` waits for that."""

    __slots__ = (
        *("_afterwards", "_direct", "_in_turn", "_over", "_unsent"),
        *("answering", "held_up", "inner", "remote", "task"),
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        direct: Mapping[str, Direct],
        afterwards: Afterwards,
        inner: bool = False,
        **options: Any,
    ) -> None:
        """`direct` are the handlers of POST requests, by path. `inner`: the other end is a process of this
        gateway."""
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._direct = direct
        self._afterwards = afterwards
        self._unsent = b""
        """An answer that is sent with others, soon."""
        self.inner = inner
        self.remote: str | None = None
        """The other end's address."""
        self._in_turn = False
        """A request is being answered, or what nobody wanted of its body read."""
        self.held_up = False
        """A body was ahead of its reader, and the parser may have kept some of what came."""
        self.task: asyncio.Task[Any] | None = None
        """In which its requests are answered; None: there will be no more."""
        self.answering = False
        self._over: asyncio.Event | None = None
        """Somebody waits for the end of the answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.task = self._task_handler  # which aiohttp forgets when the connection is lost
        self.remote = _address(self.peername)

    def pause_reading(self) -> None:
        self.held_up = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp calls this at each body's end and whenever some of it was read; mostly nothing was held up,
        and to ask the parser and the transport for more takes longer than to read the body."""
        if self.held_up:
            self.held_up = not resume_parser
            super().resume_reading(resume_parser)

    async def answered(self) -> None:
        """Returns when the answer under way is out, or nobody waits for it any more."""
        while self.answering:
            self._over = asyncio.Event()
            await self._over.wait()

    async def drained(self) -> None:
        """Returns when the client has read enough for more to be written."""
        if self.writing_paused:
            await self._drain_helper()

    def force_close(self) -> None:
        self._send()
        super().force_close()

    async def start(self) -> None:
        """As long as the connection is served."""
        try:
            while not self._force_close:
                if not self._messages:
                    await self._next()
                    self._waiter = None
                message, body = self._messages.popleft()
                assert self._parser is not None
                self._parser.message_consumed()
                if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                    self._resume_reading_if_drained()
                self._in_turn = True
                if not await self._turn(message, body) or self._close or self._force_close:
                    break
                self._in_turn = False
            if not self._force_close:
                self._task_handler = None
                self._send()
                if self.transport is not None:
                    self.transport.close()
        finally:
            self.task = None
            self.left()

    def left(self) -> None:
        """It is not served any more."""

    def _next(self) -> asyncio.Future[None]:
        """Await it: there is a request. aiohttp's clock of an idle connection runs meanwhile: its timer looks
        at `_waiter` and at the time when it fires."""
        self._next_keepalive_close_time = close_s = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_s, self._process_keepalive)
        self._waiter = self._loop.create_future()
        return self._waiter

    async def _turn(self, message: Any, body: StreamReader) -> bool:
        """One request, from its head to the end of its body; whether there may be another one."""
        self.answering = True
        self._afterwards.under_way += 1
        try:
            handler = self._handler(message)
            if handler is None:
                self._keepalive = await self._routed(message, body)
            else:
                request = HttpRequest(message, body, self)
                answer = await handler(request)
                if self._upgraded and not self._messages:
                    answer.force_close()  # what comes behind it is in a language that is not spoken here
                if not answer.begun:
                    self._unsent = answer.wire(request)
                    if answer.keep_alive and not self._messages and len(self._unsent) <= HELD_BYTES:
                        self._afterwards.write(self._send)
                    else:
                        self._send()
                        if self._paused:
                            await self.drained()
                self._keepalive = bool(answer.keep_alive)
        except ConnectionError:
            return False
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as exc:
            self.log_exception("Unhandled exception", exc_info=exc)
            self.force_close()
            return False
        finally:
            self.answering = False
            self._afterwards.under_way -= 1
            if self._over is not None:
                self._over.set()
        if not body.is_eof() and not self._force_close:
            await self._linger(body)
        return self._keepalive

    def _send(self) -> None:
        """What is not sent yet; nothing may go out or be closed before it."""
        if self._unsent:
            data, self._unsent = self._unsent, b""
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(data)

    def _handler(self, message: Any) -> Direct | None:
        """None: aiohttp's router finds it, or it is an error of HTTP's."""
        if type(message) is not RawRequestMessage or message.method != "POST":
            return None
        return self._direct.get(message.path) or self._direct.get(message.url.path_safe)

    async def _routed(self, message: Any, body: StreamReader) -> bool:
        """aiohttp's own way."""
        assert self._request_factory is not None
        assert self._request_handler is not None
        assert self._task_handler is not None
        handler = self._request_handler
        if not isinstance(message, RawRequestMessage):  # it could not be read
            handler = self._make_error_handler(message)
            message = ERROR
        writer = StreamWriter(self, self._loop)
        request = self._request_factory(message, body, self, writer, self._task_handler)
        request[ASKED] = HttpRequest(message, body, self)
        response, left = await self._handle_request(request, None, handler)
        if left:
            raise ConnectionResetError("the client has left")
        return bool(response.keep_alive)

    async def _linger(self, body: StreamReader) -> None:
        """Read on what nobody wanted; the connection ends where it does not."""
        try:
            async with asyncio.timeout(self._lingering_time):
                while not body.is_eof():
                    await body.readany()
        except (TimeoutError, web.RequestPayloadError, HttpProcessingError):
            self.close()


def _address(peer: Any) -> str | None:
    """Of a socket's other end; "" for one of a file."""
    if peer is None:
        return None
    return str(peer[0]) if isinstance(peer, list | tuple) else str(peer)
