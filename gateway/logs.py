"""Structured logs: JSON Lines with correlation ids, or a readable form on a terminal.

The event loop only puts a record into a bounded queue; a thread formats, redacts and writes it.
When the queue is full lines are dropped and counted: traffic never waits for its log.
"""

import datetime
import logging
import logging.handlers
import queue
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec

QUEUE_LINES = 10_000
_encode = msgspec.json.Encoder(enc_hook=str).encode
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}
Redact = Callable[[str], str]


def event(level: int, name: str, **fields: Any) -> None:
    """Log `name` with `fields`; those that are None are left out."""
    logger = logging.getLogger("setpoint")
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"fields": fields})


class _Queue(logging.handlers.QueueHandler):
    """Puts records as they are: formatting belongs to the writing thread."""

    def __init__(self, lines: "queue.Queue[Any]", on_drop: Callable[[], None]) -> None:
        super().__init__(lines)
        self._on_drop = on_drop

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._on_drop()


def _when(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {name: value for name, value in fields.items() if value is not None}


def _clean(value: Any, redact: Redact) -> Any:
    """Every text in `value` redacted, and fit for UTF-8: a header may hold any byte."""
    match value:
        case str():
            return redact(value).encode("utf-8", "backslashreplace").decode()
        case list() | tuple():
            return [_clean(item, redact) for item in value]
        case dict():
            return {_clean(k, redact): _clean(v, redact) for k, v in value.items()}
        case _:
            return value


class JsonLines(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `event`, then the event's own fields.

    Redacted before it is encoded: a mask put into finished JSON could take a quote with it.
    """

    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _when(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != "setpoint":
            line["logger"] = record.name
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(_clean(line, self._redact)).decode()


class Readable(logging.Formatter):
    """For people: time, event, then `name=value`. What a client sent cannot speak to the terminal."""

    def __init__(self, redact: Redact, *, colour: bool) -> None:
        super().__init__()
        self._redact = redact
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name = _clean(record.getMessage(), self._redact)
        if self._colour:
            name = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{name}\x1b[0m"
        fields = _clean(_fields(record), self._redact)
        shown = " ".join(f"{key}={_brief(value)}" for key, value in fields.items())
        line = f"{_when(record)[11:23]} {name} {shown}".rstrip()
        if record.exc_info:
            line += "\n" + _clean(self.formatException(record.exc_info), self._redact)
        return line


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        plain = value.isprintable() and value and " " not in value and '"' not in value
        return value if plain else _encode(value).decode()
    return str(value)


class _Listener(logging.handlers.QueueListener):
    """Its end mark waits for room in a full queue, instead of failing."""

    def __init__(self, lines: "queue.Queue[Any]", target: logging.Handler) -> None:
        super().__init__(lines, target)
        self._lines = lines

    def enqueue_sentinel(self) -> None:
        self._lines.put(None)


class LogOutput:
    """Owns the writing thread. `close` writes what is still queued."""

    def __init__(
        self,
        *,
        level: str,
        form: str,
        file: Path | None,
        redact: Redact,
        on_drop: Callable[[], None],
        stream: TextIO = sys.stderr,
    ) -> None:
        """Raises OSError if `file` cannot be opened."""
        target: logging.Handler
        target = logging.FileHandler(file) if file else logging.StreamHandler(stream)
        on_terminal = file is None and stream.isatty()
        readable = form == "text" or (form == "auto" and on_terminal)
        target.setFormatter(Readable(redact, colour=on_terminal) if readable else JsonLines(redact))
        lines: queue.Queue[Any] = queue.Queue(QUEUE_LINES)
        self._handler = _Queue(lines, on_drop)
        self._target = target
        self._listener = _Listener(lines, target)
        self._listener.start()
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(level.upper())

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._listener.stop()
        self._target.close()
