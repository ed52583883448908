"""Gemini's framing: lines to JSON documents. Server-sent events; but an error comes as bare JSON over lines.

Source: the stream reader of the `google-genai` SDK, which takes lines without `data:` together until their
brackets balance. What must stay true: a document is told once and whole, and nothing is held back without a bound.
"""

import re

from adapters.sse import MAX_EVENT_BYTES

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


class FrameTooLarge(ValueError):
    """One document passed the limit. The stream cannot be trusted any more."""


class Frames:
    """`line` for each line, `close` once. Raises FrameTooLarge from `line`; not to be used after that."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_bytes
        self._event: list[bytes] = []
        self._bare: list[bytes] = []
        self._held = 0
        self._depth = 0

    def line(self, line: bytes) -> list[bytes]:
        """Documents that `line` completes: at most two, an event without its blank line and a bare one."""
        if self._bare:
            return self._bare_line(line)
        if not line:
            return self._ended(self._event)
        if line.startswith(b"data:"):
            self._hold(self._event, line[5:])
            return []
        if line.lstrip()[:1] in (b"{", b"["):
            return [*self._ended(self._event), *self._bare_line(line)]
        return []  # a comment, an event's name, or a field that does not exist

    def close(self) -> list[bytes]:
        """What the end of the body completes; half of a document is no JSON."""
        return [*self._ended(self._event), *self._ended(self._bare)]

    def _bare_line(self, line: bytes) -> list[bytes]:
        self._hold(self._bare, line)
        bare = _STRING.sub(b"", line)  # no JSON text goes on in the next line
        self._depth += bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
        return self._ended(self._bare) if self._depth <= 0 else []

    def _hold(self, lines: list[bytes], line: bytes) -> None:
        self._held += len(line) + 1
        if self._held > self._limit:
            raise FrameTooLarge(f"an event is larger than {self._limit} bytes")
        lines.append(line)

    def _ended(self, lines: list[bytes]) -> list[bytes]:
        document = b"\n".join(lines).strip()
        lines.clear()
        self._held = self._depth = 0
        return [document] if document else []
