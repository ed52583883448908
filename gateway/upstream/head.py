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


KEPT = 256
"""First lines and lines of headers that are remembered; of more than that, the memory begins again."""


class RequestEncoder:
    """Writes requests for one endpoint.

    Most lines are said again with the next request: a line that was looked at once is remembered whole. Those that are
    one request's own, as its id, pass through that memory too: a few of the others are looked at again when it begins
    again, once in some two hundred requests.
    """

    def __init__(self, target: Target) -> None:
        self._base_path = target.base_path
        # A compressed answer would have to be unpacked before an event could be seen.
        self._own_headers = f"host: {target.authority}\r\naccept-encoding: identity\r\n"
        self._begun: dict[tuple[str, str], str] = {}
        """By method and path, how a head begins."""
        self._lines: dict[tuple[str, str], str] = {}
        """By a header's name and value."""

    @property
    def remembered(self) -> int:
        """Beginnings and lines."""
        return len(self._begun) + len(self._lines)

    def encode(self, request: WireRequest) -> bytes:
        """The whole request, to be written at once.

        Raises ValueError for a method, path or header that HTTP cannot carry: a bug of the caller.
        The message names the header, never its value.
        """
        lines, body, asked = self._lines, request.body, (request.method, request.path)
        head = self._begun.get(asked) or self._begin(*asked)
        for header in request.headers:
            line = lines.get(header)
            head += self._line(header) if line is None else line
        return f"{head}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body

    def _begin(self, method: str, path: str) -> str:
        if not _is_token(method) or not _is_path(path):
            raise ValueError("a request needs a method and a path of visible ASCII characters")
        if len(self._begun) >= KEPT:
            self._begun.clear()
        head = f"{method} {self._base_path}{path} HTTP/1.1\r\n{self._own_headers}"
        self._begun[method, path] = head
        return head

    def _line(self, header: tuple[str, str]) -> str:
        """A header's; if it is never sent, nothing comes of it."""
        name, value = header
        named = _named(name)
        # Nearly all are plain ASCII, which is told sooner than what else a value may hold.
        plain = value.isascii() and value.isprintable()
        if named and not plain and not _is_field_value(value):
            raise ValueError(f"the value of header {name!r} holds a character HTTP forbids")
        if len(self._lines) >= KEPT:
            self._lines.clear()
        line = self._lines[header] = f"{named}{value}\r\n" if named else ""
        return line


@functools.lru_cache(KEPT)
def _named(name: str) -> str:
    """How the line of a header begins; "" if it is never sent."""
    if name.lower() in NEVER_SENT:
        return ""
    if not _is_token(name):
        raise ValueError(f"{name!r} is no header name")
    return f"{name}: "
