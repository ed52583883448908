"""An event as a line of the log: a JSON object, or a readable form on a terminal.

Must stay true: a line holds no secret, and is one line; what a client sent cannot speak to a terminal. When and
where lines are written is not known here (`logs`).
"""

import datetime
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

import msgspec
from msgspec.structs import asdict

LOGGER = "setpoint"
LIBRARY = "library_message"
"""The event of a line by somebody else's logger: what it says is text, and no event's name."""
KINDS_KEPT = 64
_encode = msgspec.json.Encoder(enc_hook=str).encode
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31;1"}
Redact = Callable[[str], str]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


Fields = dict[str, Any] | msgspec.Struct
"""What an event says by name; what is None is not said. A Struct `omit_defaults` all that are None."""


class Event(msgspec.Struct, gc=False):
    """What is logged here, on its way to the writing thread. A `LogRecord` takes four times as long to make, and
    `logging` looks for its caller's file and line; nobody shows any of it. The names are a record's."""

    levelno: int
    msg: str
    fields: Fields
    created: float
    exc: BaseException | None = None

    @property
    def exc_info(self) -> _ExcInfo | None:
        exc = self.exc
        return None if exc is None else (type(exc), exc, exc.__traceback__)

    def record(self) -> logging.LogRecord:
        """For handlers that are not ours."""
        record = logging.LogRecord(LOGGER, self.levelno, "", 0, self.msg, (), self.exc_info)
        record.created = self.created
        fields = self.fields
        record.fields = asdict(fields) if isinstance(fields, msgspec.Struct) else fields
        return record


Said = logging.LogRecord | Event


def utc(seconds: float) -> str:
    """A Unix time as every date here is written: `2026-01-31T12:00:00.000Z`."""
    second, us = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(second)}.{us // 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """Hundreds of lines are of the same one."""
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:19]


def _name_and_fields(record: Said) -> tuple[str, Fields]:
    """Its event, and what that says."""
    if isinstance(record, Event):
        name, fields = record.msg, record.fields
    elif record.name == LOGGER:
        name, fields = record.msg, getattr(record, "fields", {})
    else:
        return LIBRARY, {"logger": record.name, "message": record.getMessage()}
    if isinstance(fields, dict):
        fields = {field: value for field, value in fields.items() if value is not None}
    return name, fields


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


class Form(logging.Formatter, ABC):
    """How lines are written."""

    def __init__(self, redact: Redact, process: str | int | None = None) -> None:
        """`process`: which one wrote it, where several are one gateway."""
        super().__init__()
        self._redact = redact
        self._process = process

    @abstractmethod
    def format(self, record: Said) -> str:
        """`record` in one piece, without the line break at its end."""

    def together(self, records: Sequence[Said]) -> str:
        """The same as `format` of each of them, one below the other."""
        return "\n".join(map(self.format, records))


class JsonLines(Form):
    """One JSON object a line: `ts`, `level`, `event`, then the event's own fields.

    Most lines hold no secret, and what `redact` leaves alone is clean, line by line and value by value (see
    `Redactor`): so a batch is searched once. Only where that finds something each text of a line is redacted by
    itself, before it is encoded: a mask put into finished JSON could take a quote with it.
    """

    def format(self, record: Said) -> str:
        return self.together([record])

    def together(self, records: Sequence[Said]) -> str:
        lines = [self._encoded(record) for record in records]
        text = b"\n".join(lines).decode()
        if self._redact(text) == text:
            return text
        return "\n".join(
            line if self._redact(line) == line else self._cleaned(record).decode()
            for line, record in zip(text.split("\n"), records, strict=True)
        )

    def _encoded(self, record: Said) -> bytes:
        """As it came; redacted only where it cannot be encoded otherwise."""
        try:
            return self._line(record, *self._told(record))
        except UnicodeEncodeError:  # a lone surrogate
            return self._cleaned(record)

    def _cleaned(self, record: Said) -> bytes:
        return self._line(record, *_clean(self._told(record), self._redact))

    def _told(self, record: Said) -> tuple[str, Fields]:
        name, fields = _name_and_fields(record)
        if record.exc_info and isinstance(fields, dict):
            fields["exception"] = self.formatException(record.exc_info)
        return name, fields

    def _line(self, record: Said, name: str, fields: Fields) -> bytes:
        """One object: what lines of a kind have in common need not be encoded for each."""
        opening = _opening(record.levelno, name, self._process)
        told = _encode(fields)
        rest = b"," + told[1:] if told != b"{}" else b"}"
        return b'{"ts":"%b",%b%b' % (utc(record.created).encode(), opening, rest)


@lru_cache(maxsize=KINDS_KEPT)
def _opening(level: int, name: str, process: str | int | None) -> bytes:
    """What follows the time in every line of a kind."""
    values: dict[str, object] = {"level": _level_name(level), "event": name}
    if process is not None:
        values["worker"] = process
    return _encode(values)[1:-1]


class Readable(Form):
    """For people: time, event, then `name=value`. What a client sent cannot speak to the terminal."""

    def __init__(self, redact: Redact, *, colour: bool, process: str | int | None = None) -> None:
        super().__init__(redact, process)
        self._colour = colour

    def format(self, record: Said) -> str:
        name, fields = _name_and_fields(record)
        name, fields = _clean((name, fields), self._redact)
        if self._colour:
            name = f"\x1b[{_COLOURS.get(_level_name(record.levelno), '0')}m{name}\x1b[0m"
        if self._process is not None:
            fields = {"worker": self._process} | fields
        shown = " ".join(f"{k}={_brief(value)}" for k, value in fields.items())
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
