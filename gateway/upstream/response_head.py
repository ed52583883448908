"""The head of an HTTP/1.1 response: what it says, and whether a response may have such a head. Pure.

Only for what llhttp has found to be a head: its lines end in CRLF and nowhere else, each but the first is
a name, a colon and a value, and none goes on in the next one.
"""

import functools

import msgspec

from adapters.dialect import WireHead

MAX_HEADERS = 128


class ResponseRefused(Exception):
    """The peer sent what we do not accept as a response. The message shows none of its bytes."""


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    wire: WireHead
    until_close: bool
    """Its body ends where the connection does."""
    may_stay: bool
    """The connection may carry another request, unless the peer says otherwise."""


@functools.lru_cache(64)
def read_head(head: bytes) -> ResponseHead:
    """`head` without the empty line at its end. Raises ResponseRefused.

    Remembered: all that most engines vary in it is the date, once a second.
    """
    first, *fields = head.decode("latin-1").split("\r\n")
    version = first[:9]
    if version not in ("HTTP/1.1 ", "HTTP/1.0 "):  # llhttp takes line ends before it, and RTSP
        raise ResponseRefused("it does not begin with HTTP/1.1 or HTTP/1.0")
    if len(fields) > MAX_HEADERS:
        raise ResponseRefused(f"it has more than {MAX_HEADERS} headers")
    status = int(first[9:12])
    if status == 101:
        raise ResponseRefused("it switches to a protocol that was not asked for")
    if status < 100:
        raise ResponseRefused("its status is none")
    headers = _headers(fields)
    coding = headers.get("transfer-encoding")
    if status >= 200:  # what is said of the body of an interim one, which has none, does not matter
        if coding is not None and coding.lower() != "chunked":
            raise ResponseRefused("its transfer-encoding is not plain chunked")
        encoding = headers.get("content-encoding")
        if encoding and encoding.lower() != "identity":
            raise ResponseRefused("it is compressed, which was not asked for")
    return ResponseHead(
        wire=WireHead(status=status, headers=headers),
        until_close=coding is None and "content-length" not in headers,
        # HTTP/1.0 servers disagree about keep-alive; a new connection costs less than a doubt.
        may_stay=version == "HTTP/1.1 ",
    )


def _headers(fields: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
