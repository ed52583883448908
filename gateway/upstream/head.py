"""A `WireRequest` as the bytes of one HTTP/1.1 request, head and body together.

Must stay true: no text that we are given can end a line or start another request, and the
headers that belong to this one connection are written here and nowhere else.
"""

import functools
import re

from adapters.dialect import WireRequest
from gateway.upstream.target import Target

_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_path = re.compile(r"/[!-~]*").fullmatch
_is_field_value = re.compile(r"[\t -~\x80-\xff]*").fullmatch

NEVER_SENT = frozenset(
    {
        # hop-by-hop: RFC 9110, section 7.6.1
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # written here
        "accept-encoding",
        "content-length",
        "host",
        # nothing waits for a 100
        "expect",
    }
)


# Methods, paths and names are the dialects' own and few; values are each request's, and looked at each time.


@functools.lru_cache(256)
def _prefix(name: str) -> str:
    """What stands before a header's value; nothing, if it is never sent."""
    if name.lower() in NEVER_SENT:
        return ""
    if not _is_token(name):
        raise ValueError(f"{name!r} is no header name")
    return f"{name}: "


class RequestEncoder:
    """Writes requests for one endpoint."""

    def __init__(self, target: Target) -> None:
        self._base_path = target.base_path
        # A compressed answer would have to be unpacked before an event could be seen.
        self._own_headers = f"host: {target.authority}\r\naccept-encoding: identity\r\n"
        self._start = functools.lru_cache(256)(self._write_start)

    def encode(self, request: WireRequest) -> bytes:
        """The whole request, to be written at once.

        Raises ValueError for a method, path or header that HTTP cannot carry: a bug of the caller.
        The message names the header, never its value.
        """
        lines = [self._start(request.method, request.path)]
        for name, value in request.headers:
            prefix = _prefix(name)
            if not prefix:
                continue
            if not _is_field_value(value):
                raise ValueError(f"the value of header {name!r} holds a character HTTP forbids")
            lines.append(f"{prefix}{value}\r\n")
        body = request.body
        lines.append(f"content-length: {len(body)}\r\n\r\n")
        return "".join(lines).encode("latin-1") + body

    def _write_start(self, method: str, path: str) -> str:
        if not _is_token(method) or not _is_path(path):
            raise ValueError("a request needs a method and a path of visible ASCII characters")
        return f"{method} {self._base_path}{path} HTTP/1.1\r\n{self._own_headers}"
