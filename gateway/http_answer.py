"""An answer on its way to a client: its head, and what is known of its body by then, in one write.

aiohttp prepares a response in some sixty steps, and sends a stream's head by itself. What it makes of a
request's HTTP version and of `Connection` holds here as well.
"""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11

from gateway.http_request import HttpRequest

CHUNK = b"%x\r\n%b\r\n"
"""One chunk of a stream: for its length, and it."""
LAST_CHUNK = b"0\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class HttpAnswer:
    """With a `body` it is whole, and what it is on the wire is to be sent; without one it is a stream: `begin` opens it,
    whoever streams writes to the transport, one chunk at a time where `framed` says so, and `write_eof` ends it.

    `lines` are of its head, beside those that HTTP itself asks for: whoever has more to say adds it there.
    """

    __slots__ = (
        "_content_type",
        "_request",
        "_whole",
        "begun",
        "ended",
        "keep_alive",
        "lines",
        "status",
    )

    def __init__(
        self,
        lines: str,
        *,
        content_type: str,
        body: bytes | None = None,
        status: int = 200,
    ) -> None:
        self.lines = lines
        self.status = status
        self._content_type = content_type
        self._whole = body
        self._request: HttpRequest | None = None
        self.begun = False
        """Its head is out."""
        self.ended = False
        """Its body's end has been sent: by whoever streams, if its last chunk was known to be that."""
        self.keep_alive: bool | None = None
        """Whether the connection stays; None: as its request says, which is known once it has begun."""

    def force_close(self) -> None:
        """The connection ends with it."""
        self.keep_alive = False

    def begin(self, request: HttpRequest, first: bytes = b"") -> None:
        """Send what `wire` makes of it, now. Raises as that does."""
        data = self.wire(request, first)
        assert request.protocol.transport is not None
        request.protocol.transport.write(data)

    def wire(self, request: HttpRequest, first: bytes = b"") -> bytes:
        """The head, and the body or `first` behind it: to be sent, once. Raises ConnectionResetError where the client
        has left or has an answer already."""
        transport = request.protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        if request.answered:
            raise ConnectionResetError("an answer has begun; the connection can only be closed")
        data = self._head(request) + (first if self._whole is None else self._whole)
        self.lines = ""  # they are out, and would take 1 KB for as long as a stream lasts
        self._request, self.begun = request, True
        request.answered = True
        return data

    async def write_eof(self) -> None:
        request = self._request
        if request is None:
            return
        if self._whole is None and not self.ended and framed(request):
            transport = request.protocol.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has left")
            transport.write(LAST_CHUNK)
        self.ended = True
        await request.protocol.drained()  # what comes next here waits for a slow reader

    def _head(self, request: HttpRequest) -> bytes:
        version = request.version
        is_new = version >= HttpVersion11
        if self._whole is not None:
            body = f"Content-Length: {len(self._whole)}\r\n"
        elif is_new:
            body = "Transfer-Encoding: chunked\r\n"
        else:
            body, self.keep_alive = "", False  # its end is the connection's
        if request.awaits_word:
            self.keep_alive = False  # a body that was not asked for may come or not: who could tell
        if self.keep_alive is None:
            self.keep_alive = request.keep_alive
        connection = ""
        if self.keep_alive != is_new:  # not what goes without saying
            connection = f"Connection: {'keep-alive' if self.keep_alive else 'close'}\r\n"
        return (
            f"HTTP/{version.major}.{version.minor} {self.status} {_REASONS.get(self.status, '')}\r\n"
            f"{self.lines}Content-Type: {self._content_type}\r\n"
            f"{body}Date: {_date(int(time.time()))}\r\n{connection}\r\n"
        ).encode()


def framed(request: HttpRequest) -> bool:
    """Whether a stream goes to this client in HTTP chunks: older ones do not know them."""
    return request.version >= HttpVersion11
