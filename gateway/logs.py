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


class JsonLines(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `event`, then the event's own fields."""

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
        return self._redact(_encode(line).decode("utf-8", "replace"))


class Readable(logging.Formatter):
    """For people: time, event, then `name=value`."""

    def __init__(self, redact: Redact, *, colour: bool) -> None:
        super().__init__()
        self._redact = redact
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name = record.getMessage()
        if self._colour:
            name = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{name}\x1b[0m"
        shown = " ".join(f"{key}={_brief(value)}" for key, value in _fields(record).items())
        line = f"{_when(record)[11:23]} {name} {shown}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return self._redact(line)


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    return str(value)


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
        self._listener = logging.handlers.QueueListener(lines, target)
        self._listener.start()
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(level.upper())

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._listener.stop()
        self._target.close()
