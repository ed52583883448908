"""One HTTP/1.1 response: bytes in, calls on the exchange's sink out. Sans-IO, on llhttp.

Must stay true: cutting the bytes differently never changes what the sink sees, and no peer can
make us hold more than `MAX_HEAD_BYTES` and one read. The body that a read brought is handed on in one
piece, however many chunks it came in. Ending the exchange is the connection's business, once the whole
read has been looked at.
"""

import functools
from typing import Literal

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from adapters.dialect import WireHead
from gateway.upstream.exchange import HttpExchange

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128

EarlyEnd = Literal["ended", "no_answer", "head_cut", "body_cut"]


class ResponseRefused(Exception):
    """The peer sent what we do not accept as a response. The message shows none of its bytes."""


@functools.lru_cache(256)
def _name(raw: bytes) -> str:
    """Of a header. They are few; values are each answer's."""
    return raw.decode("latin-1").lower()


class ResponseReader:
    """Reads one response, interim (1xx) ones before it included.

    Feed it until `complete`; then `reusable` says whether the connection may carry another
    request. When the peer closes first, `at_close` says what that means. `release` it at the end,
    which may come from within `feed`: a callback can cancel the exchange.
    """

    __slots__ = (
        "_body",
        "_exchange",
        "_fields",
        "_head_bytes",
        "_head_done",
        "_parser",
        "_refusal",
        "_until_close",
        "_without_body_bytes",
        "begun",
        "complete",
        "on_body",
        "reusable",
    )

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._body: list[bytes] = []
        self.on_body = self._body.append
        """For llhttp, as are the methods named so."""
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._without_body_bytes = 0
        self._head_done = False
        self._until_close = False
        self._refusal = ""
        self.begun = False
        self.complete = False
        self.reusable = False

    def feed(self, data: bytes) -> None:
        """Raises ResponseRefused. An exception of `on_head` comes out as HttpParserCallbackError."""
        self.begun = True
        assert self._parser is not None, "fed after release"
        try:
            self._parser.feed_data(data)
        except HttpParserError as exc:
            if self.complete:  # the answer was good; what follows it is not ours
                self.reusable = False
                return
            if self._refusal:
                raise ResponseRefused(self._refusal) from None
            if isinstance(exc, HttpParserCallbackError):
                raise
            raise ResponseRefused(f"it is no HTTP/1.1 ({exc})") from exc  # llhttp's own fixed texts
        finally:  # what was good of a read that is refused is handed on, too
            if self._body:
                body = b"".join(self._body)
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

    def on_status(self, reason: bytes) -> None:
        self._head_bytes += len(reason)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        if self._head_done:
            return  # a trailer: nobody asked for one
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None, "called after release"
        status = self._parser.get_status_code()
        fields, self._fields = self._fields, []
        version = self._parser.get_http_version()
        if len(fields) > MAX_HEADERS:
            self._refuse(f"it has more than {MAX_HEADERS} headers")
        if version not in ("1.1", "1.0"):
            self._refuse("it is of another HTTP version")
        if status == 101:
            self._refuse("it switches to a protocol that was not asked for")
        if status < 100:
            self._refuse("its status is none")
        if status < 200:
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in fields:
            name = _name(raw_name)
            value = raw_value.decode("latin-1").strip(" \t")  # llhttp leaves blanks at the end
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._refuse("its transfer-encoding is not plain chunked")
        encoding = headers.get("content-encoding")
        if encoding and encoding.lower() != "identity":
            self._refuse("it is compressed, which was not asked for")
        self._until_close = coding is None and "content-length" not in headers
        # HTTP/1.0 servers disagree about keep-alive; a new connection costs less than a doubt.
        self.reusable = version == "1.1" and self._parser.should_keep_alive()
        self._head_done = True
        self._exchange.wire = b""
        sink = self._exchange.sink
        if sink is not None:
            sink.on_head(WireHead(status=status, headers=headers))

    def on_message_complete(self) -> None:
        self.complete = self._head_done  # otherwise an interim response ended

    # -- limits -------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        self._refuse(f"its head is larger than {MAX_HEAD_BYTES} bytes")

    def _refuse(self, why: str) -> None:
        self._refusal = why
        raise ResponseRefused(why)
