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
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
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
_logger = logging.getLogger("setpoint")
_LEVEL_NAMES = {
    level: logging.getLevelName(level)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
}
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}
Redact = Callable[[str], str]


_NOWHERE = vars(logging.LogRecord(_logger.name, logging.INFO, "", 0, "", (), None))


class _Event(logging.LogRecord):
    """Made here and not by `Logger.log`, which looks for its caller's file and line, nor by `LogRecord`,
    which takes that file's name apart and asks which thread this is: nobody shows any of it."""

    def __init__(
        self, level: int, name: str, fields: dict[str, Any], exc: BaseException | None = None
    ) -> None:
        self.__dict__.update(_NOWHERE)
        self.levelno, self.levelname = level, _LEVEL_NAMES[level]
        self.msg = name
        self.created = time.time()
        self.fields = fields
        if exc is not None:
            self.exc_info = (type(exc), exc, exc.__traceback__)


def event(level: int, name: str, **fields: Any) -> None:
    """Log `name` with `fields`; those that are None are left out. Nothing is formatted here, so values
    must not change afterwards."""
    if _logger.isEnabledFor(level):
        _logger.handle(_Event(level, name, fields))


def decision(**fields: Any) -> None:
    """Log what the control loop decided. It reaches the decision log whatever the level of the log."""
    _logger.handle(_Event(logging.INFO, DECISION, fields))


def failure(name: str, exc: BaseException, **fields: Any) -> None:
    """Log `name` as an error together with the exception and its traceback, in one line."""
    _logger.handle(_Event(logging.ERROR, name, fields, exc))


# -- a record as a line -----------------------------------------------------------------------


def utc(seconds: float) -> str:
    """A Unix time as every date here is written: `2026-01-31T12:00:00.000Z`."""
    second, us = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(second)}.{us // 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """Hundreds of lines are of the same one."""
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:19]


def _name_and_fields(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    if record.name != _logger.name:
        return LIBRARY, {"logger": record.name, "message": record.getMessage()}
    return record.msg, getattr(record, "fields", {})


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


class JsonLines(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `event`, then the event's own fields.

    Most lines hold no secret, and what `redact` leaves alone is clean, value by value (see `Redactor`).
    Of the others each text is redacted by itself, before it is encoded: a mask put into finished JSON
    could take a quote with it.
    """

    def __init__(self, redact: Redact, process: str | int | None = None) -> None:
        """`process`: which one wrote it, where several are one gateway."""
        super().__init__()
        self._redact = redact
        self._process: dict[str, object] = {} if process is None else {"worker": process}

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _name_and_fields(record)
        values = {
            "ts": utc(record.created),
            "level": record.levelname.lower(),
            "event": name,
            **self._process,
            **{field: value for field, value in fields.items() if value is not None},
        }
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        try:
            line = _encode(values).decode()
        except UnicodeEncodeError:  # a lone surrogate
            pass
        else:
            if self._redact(line) == line:
                return line
        return _encode(_clean(values, self._redact)).decode()


class Readable(logging.Formatter):
    """For people: time, event, then `name=value`. What a client sent cannot speak to the terminal."""

    def __init__(self, redact: Redact, *, colour: bool, process: str | int | None = None) -> None:
        super().__init__()
        self._redact = redact
        self._colour = colour
        self._process: dict[str, object] = {} if process is None else {"worker": process}

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _name_and_fields(record)
        told = {field: value for field, value in fields.items() if value is not None}
        name, fields = _clean((name, told), self._redact)
        if self._colour:
            name = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{name}\x1b[0m"
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
        self, target: TextIO, on_drop: Callable[[], None], lock: TextIO | None = None
    ) -> None:
        """`lock` is a file that every process which writes to `target` locks meanwhile."""
        super().__init__()
        self._lock_file = lock
        self._target = target
        self._on_drop = on_drop
        self._lines: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._in_hand = 0
        """Lines that the thread took from the queue and has not written. It alone writes this."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock that handlers have. So the bound may be missed by a line or two, when
        several threads log at the same moment."""
        if not self.filter(record):
            return False
        if self._lines.qsize() + self._in_hand >= QUEUE_LINES:
            self._on_drop()
        else:
            self._lines.put(record)
        return True

    def finish(self) -> bool:
        """Write what waits. Whether that was possible within `CLOSE_S`."""
        self._lines.put(None)
        self._thread.join(CLOSE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        batch: list[logging.LogRecord] = []
        going_on = True
        while going_on:
            going_on = self._gather(batch)
            if batch:
                self._write(batch)
            batch.clear()
            self._in_hand = 0

    def _gather(self, batch: list[logging.LogRecord]) -> bool:
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

    def _write(self, batch: list[logging.LogRecord]) -> None:
        lines = [self._line(record) for record in batch]
        try:
            if self._lock_file is not None:  # a batch is more than one write: none may be torn
                fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            self._target.write("\n".join(lines) + "\n")
            self._target.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe; a closed file
            for _ in lines:
                self._on_drop()
        finally:
            if self._lock_file is not None:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as exc:  # a value that cannot be shown must not end the log
            what = record.msg if isinstance(record.msg, str) else None
            fields = {"logger": record.name, "what": what, "error": type(exc).__name__}
            return self.format(_Event(logging.ERROR, "unloggable", fields))


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
        self._writer = _Writer(self._file or stream, on_drop, self._lock)
        self._writer.setFormatter(
            Readable(redact, colour=on_terminal, process=process)
            if readable
            else JsonLines(redact, process)
        )
        self._writer.setLevel(level.upper())
        self._decisions: _Writer | None = None
        root = logging.getLogger()
        if self._decisions_file is not None:
            self._decisions = _Writer(self._decisions_file, on_drop)
            self._decisions.setFormatter(JsonLines(redact))
            self._decisions.addFilter(_is_decision)
            root.addHandler(self._decisions)
        root.addHandler(self._writer)
        root.setLevel(level.upper())
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(max(root.level, logging.WARNING))

    def close(self) -> None:
        """Write what is still queued, for at most `CLOSE_S`; then nothing more is written."""
        _finish(self._writer, self._file)
        if self._decisions is not None:
            _finish(self._decisions, self._decisions_file)
        if self._lock is not None:
            self._lock.close()


def _is_decision(record: logging.LogRecord) -> bool:
    return record.name == _logger.name and record.msg == DECISION


def _finish(writer: _Writer, file: TextIO | None) -> None:
    logging.getLogger().removeHandler(writer)
    written = writer.finish()
    writer.close()
    if file is not None and written:  # closing would wait for a write that hangs
        file.close()
