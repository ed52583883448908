"""Structured logs: JSON Lines with correlation ids, or a readable form on a terminal.

The event loop only puts a record into a bounded queue; a thread formats, redacts and writes. When too
much waits, lines are dropped and counted: traffic never waits for its log. Must stay true: nothing is
written that was not redacted, and a line is one line. What is worth logging is the callers' business.
"""

import datetime
import fcntl
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import msgspec

QUEUE_LINES = 10_000
BATCH_LINES = 256
GATHER_S = 0.005
"""How long lines gather after a batch's first one. Waking the thread costs the event loop more than a
line does: under load it wakes 100 to 200 times a second, and not once a request."""
CLOSE_S = 5.0
"""How long `LogOutput.close` waits for a target that does not take its lines."""
DECISION = "decision"
"""The event of what the control loop decided."""
LIBRARY = "library_message"
"""The event of a line by somebody else's logger: what it says is text, and no event's name."""
_TALKATIVE = ("alembic",)
"""Libraries that tell at "info" what they are about, from their import on. What went wrong is a warning."""
_encode = msgspec.json.Encoder(enc_hook=str).encode
_root = logging.getLogger()
_logger = logging.getLogger("setpoint")
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31;1"}
Redact = Callable[[str], str]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class _Event(msgspec.Struct, gc=False):
    """What is logged here, on its way to the writing thread. A `LogRecord` takes four times as long to make, and
    `logging` looks for its caller's file and line; nobody shows any of it. The names are a record's."""

    levelno: int
    msg: str
    fields: dict[str, Any]
    created: float
    exc: BaseException | None = None

    @property
    def exc_info(self) -> _ExcInfo | None:
        exc = self.exc
        return None if exc is None else (type(exc), exc, exc.__traceback__)

    def record(self) -> logging.LogRecord:
        """For handlers that are not ours."""
        record = logging.LogRecord(_logger.name, self.levelno, "", 0, self.msg, (), self.exc_info)
        record.created = self.created
        record.fields = self.fields
        return record


Said = logging.LogRecord | _Event


def event(level: int, name: str, **fields: Any) -> None:
    """Log `name` with `fields`; those that are None are left out. Nothing is formatted here, so values
    must not change afterwards."""
    if _logger.isEnabledFor(level):
        _hand_out(_Event(level, name, fields, time.time()))


def decision(**fields: Any) -> None:
    """Log what the control loop decided. It reaches the decision log whatever the level of the log."""
    _hand_out(_Event(logging.INFO, DECISION, fields, time.time()))


def failure(name: str, exc: BaseException, **fields: Any) -> None:
    """Log `name` as an error together with the exception and its traceback, in one line."""
    _hand_out(_Event(logging.ERROR, name, fields, time.time(), exc))


def _hand_out(event: _Event) -> None:
    """To the process's handlers, ours among them: as `logging` would, in a fifth of the calls."""
    handlers = _root.handlers
    if not handlers:  # a command that keeps no log: `logging` has a last resort
        _logger.handle(event.record())
    for handler in handlers:
        if event.levelno >= handler.level:
            if isinstance(handler, _Writer):
                handler.take(event)
            else:
                handler.handle(event.record())


# -- a record as a line -----------------------------------------------------------------------


def utc(seconds: float) -> str:
    """A Unix time as every date here is written: `2026-01-31T12:00:00.000Z`."""
    second, us = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(second)}.{us // 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """Hundreds of lines are of the same one."""
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:19]


def _name_and_fields(record: Said) -> tuple[str, dict[str, Any]]:
    if isinstance(record, _Event):
        return record.msg, record.fields
    if record.name != _logger.name:
        return LIBRARY, {"logger": record.name, "message": record.getMessage()}
    return record.msg, getattr(record, "fields", {})


@lru_cache(maxsize=16)
def _level_name(level: int) -> str:
    return logging.getLevelName(level).lower()


def _clean(value: Any, redact: Redact) -> Any:
    """`value` in plain types, every text in it redacted, and fit for UTF-8: a header may hold any byte."""
    return _redacted(msgspec.to_builtins(value, enc_hook=str, str_keys=True), redact)


def _redacted(value: Any, redact: Redact) -> Any:
    match value:
        case str():
            return redact(value).encode("utf-8", "backslashreplace").decode()
        case list() | tuple():
            return [_redacted(item, redact) for item in value]
        case dict():
            return {_redacted(k, redact): _redacted(v, redact) for k, v in value.items()}
        case _:
            return value


class _Form(logging.Formatter):
    """How lines are written."""

    def __init__(self, redact: Redact, process: str | int | None = None) -> None:
        """`process`: which one wrote it, where several are one gateway."""
        super().__init__()
        self._redact = redact
        self._process: dict[str, object] = {} if process is None else {"worker": process}

    def format(self, record: Said) -> str:
        """`record` in one piece, without the line break at its end."""
        raise NotImplementedError

    def together(self, records: Sequence[Said]) -> str:
        """The same as `format` of each of them, one below the other."""
        return "\n".join(map(self.format, records))


class JsonLines(_Form):
    """One JSON object a line: `ts`, `level`, `event`, then the event's own fields.

    Most lines hold no secret, and what `redact` leaves alone is clean, line by line and value by value (see
    `Redactor`): so a batch is searched once. Only where that finds something each text of a line is redacted by
    itself, before it is encoded: a mask put into finished JSON could take a quote with it.
    """

    def format(self, record: Said) -> str:
        return self.together([record])

    def together(self, records: Sequence[Said]) -> str:
        lines = [self._encoded(record) for record in records]
        text = "\n".join(lines)
        if self._redact(text) == text:
            return text
        return "\n".join(
            line if self._redact(line) == line else self._cleaned(record)
            for line, record in zip(lines, records, strict=True)
        )

    def _encoded(self, record: Said) -> str:
        """As it came; redacted only where it cannot be encoded otherwise."""
        try:
            return _encode(self._values(record)).decode()
        except UnicodeEncodeError:  # a lone surrogate
            return self._cleaned(record)

    def _cleaned(self, record: Said) -> str:
        return _encode(_clean(self._values(record), self._redact)).decode()

    def _values(self, record: Said) -> dict[str, Any]:
        name, fields = _name_and_fields(record)
        values: dict[str, Any] = {
            "ts": utc(record.created),
            "level": _level_name(record.levelno),
            "event": name,
        }
        values |= self._process
        values |= {field: value for field, value in fields.items() if value is not None}
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return values


class Readable(_Form):
    """For people: time, event, then `name=value`. What a client sent cannot speak to the terminal."""

    def __init__(self, redact: Redact, *, colour: bool, process: str | int | None = None) -> None:
        super().__init__(redact, process)
        self._colour = colour

    def format(self, record: Said) -> str:
        name, fields = _name_and_fields(record)
        told = {field: value for field, value in fields.items() if value is not None}
        name, fields = _clean((name, told), self._redact)
        if self._colour:
            name = f"\x1b[{_COLOURS.get(_level_name(record.levelno), '0')}m{name}\x1b[0m"
        shown = " ".join(f"{k}={_brief(value)}" for k, value in (self._process | fields).items())
        line = f"{utc(record.created)[11:23]} {name} {shown}".rstrip()
        if record.exc_info:
            trace = _clean(self.formatException(record.exc_info), self._redact)
            line += "".join(f"\n{_printable(part)}" for part in trace.splitlines())
        return line


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        plain = value.isprintable() and value and " " not in value and '"' not in value
        return value if plain else _encode(value).decode()
    return str(value)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# -- lines on their way out -------------------------------------------------------------------


class _Writer(logging.Handler):
    """Takes records on any thread, and writes them on its own, a batch at a time."""

    def __init__(
        self,
        target: TextIO,
        form: _Form,
        on_drop: Callable[[], None],
        *,
        only: str | None = None,
        lock: TextIO | None = None,
    ) -> None:
        """`only`: the one event that it takes. `lock` is a file that every process which writes to `target`
        locks meanwhile."""
        super().__init__()
        self._lock_file = lock
        self._target = target
        self._form = form
        self._only = only
        self._on_drop = on_drop
        self._lines: queue.SimpleQueue[Said | None] = queue.SimpleQueue()
        self._in_hand = 0
        """Lines that the thread took from the queue and has not written. It alone writes this."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def take(self, event: _Event) -> None:
        """One of ours."""
        if self._only is None or self._only == event.msg:
            self._put(event)

    def handle(self, record: logging.LogRecord) -> bool:
        """One of somebody else's, from `logging`. Without the lock that handlers have."""
        if self._only is not None:
            return False
        self._put(record)
        return True

    def _put(self, line: Said) -> None:
        """The bound may be missed by a line or two, when several threads log at the same moment."""
        if self._lines.qsize() + self._in_hand >= QUEUE_LINES:
            self._on_drop()
        else:
            self._lines.put(line)

    def finish(self) -> bool:
        """Write what waits. Whether that was possible within `CLOSE_S`."""
        self._lines.put(None)
        self._thread.join(CLOSE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        batch: list[Said] = []
        going_on = True
        while going_on:
            going_on = self._gather(batch)
            if batch:
                self._write(batch)
            batch.clear()
            self._in_hand = 0

    def _gather(self, batch: list[Said]) -> bool:
        """Wait for lines and put them into `batch`. False after the last one."""
        record = self._lines.get()
        if record is not None:
            self._in_hand = 1
            batch.append(record)
            time.sleep(GATHER_S)
        while record is not None and len(batch) < BATCH_LINES:
            try:
                record = self._lines.get_nowait()
            except queue.Empty:
                break
            if record is not None:
                batch.append(record)
                self._in_hand = len(batch)
        return record is not None

    def _write(self, batch: list[Said]) -> None:
        text = self._text(batch)
        try:
            if self._lock_file is not None:  # a batch is more than one write: none may be torn
                fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            self._target.write(text + "\n")
            self._target.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe; a closed file
            for _ in batch:
                self._on_drop()
        finally:
            if self._lock_file is not None:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _text(self, batch: list[Said]) -> str:
        try:
            return self._form.together(batch)
        except Exception:  # a value that cannot be shown must not end the log, nor its neighbours
            return "\n".join(map(self._line, batch))

    def _line(self, record: Said) -> str:
        try:
            return self._form.format(record)
        except Exception as exc:
            what = record.msg if isinstance(record.msg, str) else None
            logger = _logger.name if isinstance(record, _Event) else record.name
            fields = {"logger": logger, "what": what, "error": type(exc).__name__}
            return self._form.format(_Event(logging.ERROR, "unloggable", fields, record.created))


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
        decisions: Path | None = None,
        stream: TextIO = sys.stderr,
        process: str | int | None = None,
        lock: Path | None = None,
    ) -> None:
        """`on_drop` is called for each line that is lost, on any thread. `decisions` gets what the
        control loop decided, as JSON Lines: all of it, whatever `level` is. Where several processes are
        one gateway, `process` is which of them a line is of, and the file `lock` keeps their lines whole.
        Raises OSError if a file cannot be opened."""
        self._decisions_file = decisions.open("a", encoding="utf-8") if decisions else None
        try:
            self._file = file.open("a", encoding="utf-8") if file else None
        except OSError:
            if self._decisions_file is not None:
                self._decisions_file.close()
            raise
        self._lock = lock.open("a", encoding="utf-8") if lock else None
        on_terminal = file is None and stream.isatty()
        readable = form == "text" or (form == "auto" and on_terminal)
        form_of_log = (
            Readable(redact, colour=on_terminal, process=process)
            if readable
            else JsonLines(redact, process)
        )
        self._writer = _Writer(self._file or stream, form_of_log, on_drop, lock=self._lock)
        self._writer.setLevel(level.upper())
        self._decisions: _Writer | None = None
        if self._decisions_file is not None:
            self._decisions = _Writer(
                self._decisions_file, JsonLines(redact), on_drop, only=DECISION
            )
            _root.addHandler(self._decisions)
        _root.addHandler(self._writer)
        _root.setLevel(level.upper())
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(max(_root.level, logging.WARNING))

    def close(self) -> None:
        """Write what is still queued, for at most `CLOSE_S`; then nothing more is written."""
        _finish(self._writer, self._file)
        if self._decisions is not None:
            _finish(self._decisions, self._decisions_file)
        if self._lock is not None:
            self._lock.close()


def _finish(writer: _Writer, file: TextIO | None) -> None:
    _root.removeHandler(writer)
    written = writer.finish()
    writer.close()
    if file is not None and written:  # closing would wait for a write that hangs
        file.close()
