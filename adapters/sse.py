"""Server-sent events: bytes in, events out (WHATWG HTML, section 9.2.6).

Cutting the bytes differently never changes the events. LF, CRLF and CR end a line, also when a
pair is cut in two; a byte order mark is skipped; comments are counted and dropped. Data stays
bytes: what is inside (JSON, `[DONE]`) is not this module's business, nor is any clock.
"""

import re

import msgspec

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""An event larger than this is an attack or a bug; no provider's chunk comes near it."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLarge(ValueError):
    """One event, or one line of it, passed the limit. The stream cannot be trusted any more."""


class SSEEvent(msgspec.Struct):
    """One dispatched event. `id` is the last one seen, as the standard wants it: it persists."""

    data: bytes
    event: str = "message"
    id: str = ""


class SSEDecoder:
    """`feed` as bytes arrive, `close` once when the body has properly ended. Who needs neither names nor ids
    asks for what is `plain` first.

    Raises EventTooLarge from both; the decoder must not be used after that.
    """

    __slots__ = (
        "_at_start",
        "_data",
        "_data_bytes",
        "_event",
        "_id",
        "_id_next",
        "_limit",
        "_skip_lf",
        "_tail",
        "comments",
        "retry_ms",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._tail = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._id = ""
        self._id_next = ""  # becomes `_id` when its block is dispatched, not before
        self._at_start = True
        self._skip_lf = False
        self.comments = 0
        self.retry_ms: int | None = None

    @property
    def idle(self) -> bool:
        """No event has begun, nor anything that would be part of the next one."""
        return not (self._tail or self._data or self._event or self._skip_lf)

    def plain(self, data: bytes) -> list[bytes] | None:
        """What nearly every read brings: the data of whole events without a name, each of one line, and nothing
        else. None: `data` is something else, or the rest of something, and must be fed. Takes a tenth of the
        time."""
        if not data.startswith(b"data: ") or not data.endswith(b"\n\n"):
            return None
        if not self.idle:
            return None
        if len(data) > self._limit:
            return None
        values = data[6:-2].split(b"\n\ndata: ")
        said = b"".join(values)
        if 0x0A in said or 0x0D in said:
            return None  # there are lines between or within them
        self._at_start = False
        self._id = self._id_next
        return values

    def feed(self, data: bytes) -> list[SSEEvent]:
        """Events that `data` completes."""
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == 0x0A:
                data = data[1:]
        if 0x0A not in data and 0x0D not in data:
            self._tail += data
            if len(self._tail) > self._limit:
                raise EventTooLarge(f"an event line is longer than {self._limit} bytes")
            return []
        if self._tail:
            data = bytes(self._tail) + data
            self._tail.clear()
        if self._at_start:
            self._at_start = False
            data = data.removeprefix(_BOM)
        if 0x0D in data:
            lines = _LINE_END.split(data)
            self._skip_lf = data.endswith(b"\r")
        else:
            lines = data.split(b"\n")
        self._tail += lines.pop()
        if len(self._tail) > self._limit:
            raise EventTooLarge(f"an event line is longer than {self._limit} bytes")
        return self._lines(lines)

    def close(self) -> list[SSEEvent]:
        """The last event, if its blank line is missing.

        The standard drops it. Backends that forget the last blank line are common, and HTTP has
        told the caller that the body is whole, so here it counts; half a JSON will not parse.
        Its last line may be the one too many: this, too, raises EventTooLarge.
        """
        rest = bytes(self._tail)
        self._tail.clear()
        if self._at_start:
            rest = rest.removeprefix(_BOM)
        return self._lines([rest, b""]) if rest else self._lines([b""])

    def _lines(self, lines: list[bytes]) -> list[SSEEvent]:
        events: list[SSEEvent] = []
        for line in lines:
            if not line:
                self._dispatch(events)
                continue
            if line.startswith(b"data:"):  # nearly every line there is
                self._add(line[6:] if line[5:6] == b" " else line[5:])
                continue
            if line[0] == 0x3A:
                self.comments += 1
                continue
            name, _, value = line.partition(b":")
            self._field(name, value.removeprefix(b" "))
        return events

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and 0x00 not in value:
            self._id_next = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= 9:
            self.retry_ms = int(value)

    def _add(self, value: bytes) -> None:
        self._data_bytes += len(value) + 1
        if self._data_bytes > self._limit:
            raise EventTooLarge(f"an event is larger than {self._limit} bytes")
        self._data.append(value)

    def _dispatch(self, events: list[SSEEvent]) -> None:
        self._id = self._id_next
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(SSEEvent(data, self._event or "message", self._id))
            self._data = []
            self._data_bytes = 0
        self._event = ""
