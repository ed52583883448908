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


class RequestEncoder:
    """Writes requests for one endpoint.

    Methods, paths and the names of headers are the dialects' own and few: what they come to is remembered.
    Values are each request's, and looked at each time.
    """

    def __init__(self, target: Target) -> None:
        self._base_path = target.base_path
        # A compressed answer would have to be unpacked before an event could be seen.
        self._own_headers = f"host: {target.authority}\r\naccept-encoding: identity\r\n"
        self._form = functools.lru_cache(256)(self._write_form)

    def encode(self, request: WireRequest) -> bytes:
        """The whole request, to be written at once.

        Raises ValueError for a method, path or header that HTTP cannot carry: a bug of the caller.
        The message names the header, never its value.
        """
        headers, body = request.headers, request.body
        names, values = zip(*headers, strict=True) if headers else ((), ())
        form = self._form(request.method, request.path, names)
        if not _is_field_value("".join(values)):
            name = next(name for name, value in headers if not _is_field_value(value))
            raise ValueError(f"the value of header {name!r} holds a character HTTP forbids")
        return (form % (*values, len(body))).encode("latin-1") + body

    def _write_form(self, method: str, path: str, names: tuple[str, ...]) -> str:
        """A head, to be filled with the values of its headers and the length of its body."""
        if not _is_token(method) or not _is_path(path):
            raise ValueError("a request needs a method and a path of visible ASCII characters")
        first = f"{method} {self._base_path}{path} HTTP/1.1\r\n{self._own_headers}"
        lines = "".join(map(_line, names))
        return f"{first.replace('%', '%%')}{lines}content-length: %d\r\n\r\n"


def _line(name: str) -> str:
    """A header's, to be filled with its value; if it is never sent, nothing comes of that."""
    if name.lower() in NEVER_SENT:
        return "%.0s"
    if not _is_token(name):
        raise ValueError(f"{name!r} is no header name")
    return f"{name.replace('%', '%%')}: %s\r\n"
