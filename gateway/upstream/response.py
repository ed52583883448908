"""One connection's HTTP/1.1 responses: bytes in, calls on the exchange's sink out. Sans-IO, on llhttp.

Must stay true: cutting the bytes differently never changes what the sink sees, and no peer can
make us hold more than `MAX_HEAD_BYTES` and one read. The body that a read brought is handed on in one
piece, however many chunks it came in. Ending the exchange is the connection's business, once the whole
read has been looked at.
"""

from typing import Literal

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from gateway.upstream.exchange import HttpExchange
from gateway.upstream.response_head import ResponseRefused, read_head

MAX_HEAD_BYTES = 64 * 1024

EarlyEnd = Literal["ended", "no_answer", "head_cut", "body_cut"]


class ResponseReader:
    """Reads one response after the other, interim (1xx) ones before each included.

    `expect` the next one; feed it until `complete`; then `reusable` says whether the connection may
    carry another request, and only then may another be expected. When the peer closes first, `at_close`
    says what that means. `release` it at the end, which may come from within `feed`: a callback can
    cancel the exchange.

    Where a head is whole, llhttp says; what stands in it is read from the bytes, at once.
    """

    __slots__ = (
        *("_body", "_exchange", "_head", "_head_done", "_head_end", "_parser", "_until_close"),
        *("_without_body_bytes", "begun", "complete", "on_body", "reusable"),
    )

    def __init__(self) -> None:
        self._body: list[bytes] = []
        self.on_body = self._body.append
        """For llhttp, as are the methods named so."""
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._head = b""
        """All that has come, until the head is done."""
        self.begun = self.complete = False

    def expect(self, exchange: HttpExchange) -> None:
        """The next response answers it."""
        self._exchange = exchange
        self._head_done = self._until_close = False
        self._head_end = self._without_body_bytes = 0
        self.begun = self.complete = self.reusable = False

    def feed(self, data: bytes) -> None:
        """Raises ResponseRefused. An exception of `on_head` comes out as HttpParserCallbackError."""
        self.begun = True
        assert self._parser is not None, "fed after release"
        if not self._head_done:
            self._head += data
        try:
            self._parser.feed_data(data)
        except HttpParserError as exc:
            if self.complete:  # the answer was good; what follows it is not ours
                self.reusable = False
                return
            if isinstance(exc.__context__, ResponseRefused):
                raise exc.__context__ from None
            if isinstance(exc, HttpParserCallbackError):
                raise
            raise ResponseRefused(f"it is no HTTP/1.1 ({exc})") from exc  # llhttp's own fixed texts
        finally:  # what was good of a read that is refused is handed on, too
            if self._body:
                body = self._body.pop()
                if self._body:
                    body = b"".join((*self._body, body))
                    self._body.clear()
                self._without_body_bytes = 0
                if self._exchange.sink is not None:
                    self._exchange.sink.on_data(body)
            else:  # chunk extensions and trailers count as well: anything but body is bounded
                self._without_body_bytes += len(data)
        if self._without_body_bytes > MAX_HEAD_BYTES and not self.complete:
            raise ResponseRefused(f"more than {MAX_HEAD_BYTES} bytes came without any body")

    def at_close(self, *, clean: bool) -> EarlyEnd:
        """The peer closed (`clean`) or reset before `complete`: what that makes of the response."""
        if not self.begun:
            return "no_answer"
        if not self._head_done:
            return "head_cut"
        return "ended" if self._until_close and clean else "body_cut"

    def release(self) -> None:
        """Drop the parser, which holds this object in turn: no work for the garbage collector."""
        self._parser = None

    # -- called by llhttp ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise ResponseRefused  # a second answer to one request; `feed` has the rest

    def on_headers_complete(self) -> None:
        start, end = self._head_end, self._head.index(b"\r\n\r\n", self._head_end)
        if end > MAX_HEAD_BYTES:
            raise ResponseRefused(f"its head is larger than {MAX_HEAD_BYTES} bytes")
        head = read_head(self._head[start:end])
        self._head_end = end + 4
        if head.wire.status < 200:
            return
        assert self._parser is not None, "called after release"
        self._head = b""
        self._head_done = True
        self._until_close = head.until_close
        self.reusable = head.may_stay and self._parser.should_keep_alive()
        self._exchange.wire = b""
        sink = self._exchange.sink
        if sink is not None:
            sink.on_head(head.wire)

    def on_message_complete(self) -> None:
        self.complete = self._head_done  # otherwise an interim response ended
