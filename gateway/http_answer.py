"""A good answer on its way to a client: its head, and what is known of its body by then, in one write.

aiohttp prepares a response in some sixty steps, and sends a stream's head by itself. What it makes of a
request's HTTP version and of `Connection` holds here as well; errors, which are few, stay aiohttp's.
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

CHUNK = b"%x\r\n%b\r\n"
"""One chunk of a stream: for its length, and it."""
LAST_CHUNK = b"0\r\n\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class HttpAnswer(web.StreamResponse):
    """A 200. With a `body` it is whole; without one it is a stream: `begin` opens it, whoever streams writes to
    the transport, one chunk at a time where `framed` says so, and `write_eof` ends it."""

    def __init__(
        self, headers: Mapping[str, str], *, content_type: str, body: bytes | None = None
    ) -> None:
        super().__init__(headers=headers)
        self._type = content_type
        self._whole = body
        self._request: web.BaseRequest | None = None
        self.ended = False
        """Its body's end has been sent: by whoever streams, if its last chunk was known to be that."""
        self._stays: bool | None = None

    @property
    def prepared(self) -> bool:
        return self._request is not None

    @property
    def keep_alive(self) -> bool | None:
        return self._stays

    def force_close(self) -> None:
        self._stays = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._request is None:
            self.begin(request, self._whole or b"")
        return None

    def begin(self, request: web.BaseRequest, first: bytes = b"") -> None:
        """Send the head, and `first` behind it. Raises ConnectionResetError where the client has left,
        ValueError for a header that would not end with its line."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        data = self._head(request) + first
        self.headers.clear()  # it is out; they would take 2 KB for as long as a stream lasts
        self._request = request
        request.writer.output_size += len(data)
        transport.write(data)

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._request
        if request is None:
            return
        if self._whole is None and not self.ended and framed(request):
            transport = request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has left")
            transport.write(LAST_CHUNK)
        self.ended = True
        await request.writer.drain()  # what comes next on this connection waits for a slow reader

    def _head(self, request: web.BaseRequest) -> bytes:
        version = request.version
        if self._whole is not None:
            body = f"Content-Length: {len(self._whole)}\r\n"
        elif framed(request):
            body = "Transfer-Encoding: chunked\r\n"
        else:
            body, self._stays = "", False  # its end is the connection's
        if self._stays is None:
            self._stays = request.keep_alive
        connection = ""
        if self._stays != (version >= HttpVersion11):  # not what goes without saying
            connection = f"Connection: {'keep-alive' if self._stays else 'close'}\r\n"
        lines = [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        told = "".join(lines)
        if told.count("\n") != len(lines) or told.count("\r") != len(lines) or "\0" in told:
            raise ValueError("a header has a line break in it")
        return (
            f"HTTP/{version.major}.{version.minor} 200 OK\r\n{told}Content-Type: {self._type}\r\n"
            f"{body}Date: {_date(int(time.time()))}\r\n{connection}\r\n"
        ).encode()


def framed(request: web.BaseRequest) -> bool:
    """Whether a stream goes to this client in HTTP chunks: older ones do not know them."""
    return request.version >= HttpVersion11
