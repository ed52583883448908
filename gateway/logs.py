"""Structured logs: events on their way to a file or a terminal.

The event loop only puts an event into a bounded queue; a thread makes lines of them (`log_lines`) and writes those.
Must stay true: traffic never waits for its log. When too much waits, lines are dropped and counted. What is
worth logging is the callers' business.
"""

import fcntl
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from gateway.log_lines import LOGGER, Event, Fields, Form, JsonLines, Readable, Redact, Said
from gateway.log_lines import utc as utc  # as every date is written, in answers too

QUEUE_LINES = 10_000
BATCH_LINES = 256
GATHER_S = 0.02
"""How long lines gather after a batch's first one. Waking the thread and writing costs more than a line does, the event
loop too: under load it wakes 50 times a second, and not once a request. What kills the process takes as much with it."""
CLOSE_S = 5.0
"""How long `LogOutput.close` waits for a target that does not take its lines."""
DECISION = "decision"
"""The event of what the control loop decided."""
_TALKATIVE = ("alembic",)
"""Libraries that tell at "info" what they are about, from their import on. What went wrong is a warning."""
_root = logging.getLogger()
_logger = logging.getLogger(LOGGER)


def event(level: int, name: str, **fields: Any) -> None:
    """Log `name` with `fields`; those that are None are left out. Nothing is formatted here, so values
    must not change afterwards."""
    say(level, name, fields)


def say(level: int, name: str, fields: Fields) -> None:
    """The same where the fields have a type of their own."""
    if _logger.isEnabledFor(level):
        _hand_out(Event(level, name, fields, time.time()))


def decision(**fields: Any) -> None:
    """Log what the control loop decided. It reaches the decision log whatever the level of the log."""
    _hand_out(Event(logging.INFO, DECISION, fields, time.time()))


def failure(name: str, exc: BaseException, **fields: Any) -> None:
    """Log `name` as an error together with the exception and its traceback, in one line."""
    _hand_out(Event(logging.ERROR, name, fields, time.time(), exc))


def _hand_out(event: Event) -> None:
    """To the process's handlers, ours among them: as `logging` would, without its chain of loggers and filters."""
    handlers = _root.handlers
    if not handlers:  # a command that keeps no log: `logging` has a last resort
        _logger.handle(event.record())
    for handler in handlers:
        if event.levelno >= handler.level:
            if isinstance(handler, _Writer):
                handler.take(event)
            else:
                handler.handle(event.record())


# -- on their way out -------------------------------------------------------------------


class _Writer(logging.Handler):
    """Takes records on any thread, and writes them on its own, a batch at a time."""

    def __init__(
        self,
        target: TextIO,
        form: Form,
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

    def handle(self, record: logging.LogRecord) -> bool:
        """One of somebody else's, from `logging`. Without the lock that handlers have."""
        if self._only is not None:
            return False
        self.take(record)
        return True

    def take(self, line: Said) -> None:
        """Unless it is none of those that are wanted. The bound may be missed by a line or two, when several threads
        log at the same moment."""
        if self._only is not None and self._only != line.msg:
            return
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
            if self._lines.qsize() < BATCH_LINES:
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
            logger = LOGGER if isinstance(record, Event) else record.name
            fields = {"logger": logger, "what": what, "error": type(exc).__name__}
            return self._form.format(Event(logging.ERROR, "unloggable", fields, record.created))


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
