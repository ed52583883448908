"""A client's request as the doors see it: what its head says, who sent it, and its body as it comes.

There is one for every request. aiohttp's own, `web.Request`, is made beside it where aiohttp's router finds the
handler; it takes longer to make than all that an inference asks of a request.
"""

import asyncio
from typing import Any, Protocol

from aiohttp import EMPTY_PAYLOAD, HttpVersion, HttpVersion11, StreamReader, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from gateway.auth import Visitor
from gateway.ids import new_id

_ID_MOST = 128


class Connection(Protocol):
    """The connection that it came on."""

    transport: asyncio.Transport | None
    """None: it is closed, or about to be."""
    inner: bool
    """The other end is a process of this gateway."""
    held_up: bool
    """A body was ahead of its reader, and some of what came may have been kept back."""

    remote: str | None
    """The other end's address."""
    task: asyncio.Task[Any] | None
    """In which its requests are answered; None: there will be no more."""

    async def drained(self) -> None:
        """Returns when the client has read enough for more to be written."""
        ...


class HttpRequest:
    """`visitor` is None until it was looked up."""

    __slots__ = (
        "_target",
        "answered",
        "awaits_word",
        "content",
        "headers",
        "keep_alive",
        "protocol",
        "request_id",
        "version",
        "visitor",
    )

    def __init__(
        self, message: RawRequestMessage, content: StreamReader, protocol: Connection
    ) -> None:
        self._target = message.url
        self.version: HttpVersion = message.version
        self.headers: CIMultiDictProxy[str] = message.headers
        self.keep_alive = not message.should_close
        self.content = content
        self.protocol = protocol
        given = message.headers.get("x-request-id")
        self.request_id = given if given and _is_fit(given) else new_id("req_")
        """Its client's own, if that is fit for a header and a log line."""
        self.visitor: Visitor | None = None
        self.answered = False
        """The head of its answer has gone out."""
        self.awaits_word = "Expect" in message.headers and message.version >= HttpVersion11
        """Its body comes when it is told to go on, and may never come else."""

    def take_whole(self) -> bytes | None:
        """Its body, where all of it has come with its head, as most have; once, and then it is not kept here.
        None: it is to be read from `content`.

        `read_nowait` is eight calls to the same end, of what has been held up as well.
        """
        content = self.content
        if content is EMPTY_PAYLOAD:
            return b""
        if not content._eof or content._exception is not None or self.protocol.held_up:
            return None
        body = b"".join(content._buffer)
        content._buffer.clear()
        return body

    @property
    def path(self) -> str:
        return self._target.path

    @property
    def gone(self) -> bool:
        """Its client has left."""
        transport = self.protocol.transport
        return transport is None or transport.is_closing()


ASKED = web.RequestKey("asked", HttpRequest)
"""Where aiohttp's request has it."""


def _is_fit(given: str) -> bool:
    return len(given) <= _ID_MOST and given.isascii() and given.isprintable() and " " not in given
