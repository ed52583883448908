"""Traffic to replay: which request arrives when, and how long its prompt and its answer are.

A trace is a list of `Arrival` in time order. `read_trace` reads one from a CSV file, `stretched` and
`merged` make others of it; `gateway.simulation.traffic` invents some. What must stay true: a trace that
was read is sorted and within the bounds below, and a wrong value is reported with its line and
column, never skipped. Nothing here knows a policy, a backend or a clock.
"""

import csv
import gzip
import heapq
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TextIO

import msgspec

from contracts.problems import Position, Problem, ProblemsFound, did_you_mean

MAX_ARRIVAL_S = 366 * 86_400.0
"""A year: a larger number is a date, not seconds from the start of the trace."""
MAX_TOKENS = 100_000_000
MAX_ROWS = 2_000_000
MAX_PROBLEMS = 20
_TIME, _PROMPT, _OUTPUT = _REQUIRED = ("arrival_s", "input_tokens", "output_tokens")
_OPTIONAL = ("tenant", "intent", "model")


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One request of a trace. Positional and outside the garbage collector: there are many of them."""

    arrival_s: float
    """Seconds from the start of the trace."""
    input_tokens: int
    output_tokens: int
    """What the model answers if nothing cuts it short; at least 1, as `input_tokens`."""
    tenant: str = ""
    intent: str = ""
    """Empty: whatever intent is the default."""
    model: str = ""
    """Empty: the model that the simulation is about."""


def read_trace(path: Path | str) -> list[Arrival]:
    """The requests of a CSV file (gzipped if its name ends in `.gz`) whose first line names the columns.

    `arrival_s`, `input_tokens` and `output_tokens` must be there; `tenant`, `intent` and `model` may;
    others are ignored. Raises ProblemsFound for anything else, rows out of order and a trace without
    rows among it. Columns of positions are exact for rows without quotes.
    """
    path, file = Path(path), str(path)
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
            return _Reader(file, text).read()
    except (UnicodeDecodeError, csv.Error) as exc:
        raise _refused(file, f"this is not CSV in UTF-8: {exc}") from exc
    except (OSError, EOFError, zlib.error) as exc:
        raise _refused(file, getattr(exc, "strerror", None) or str(exc)) from exc


def stretched(arrivals: Sequence[Arrival], factor: float) -> list[Arrival]:
    """The same requests with all times multiplied by `factor`: 0.5 doubles the load."""
    if not 0.0 < factor < math.inf:
        raise ValueError(f"a trace is stretched by a factor above 0, not by {factor}")
    return [
        Arrival(a.arrival_s * factor, a.input_tokens, a.output_tokens, a.tenant, a.intent, a.model)
        for a in arrivals
    ]


def merged(*traces: Iterable[Arrival]) -> list[Arrival]:
    """All requests of several traces; of two at the same time, the earlier trace's comes first."""
    return list(heapq.merge(*traces, key=attrgetter("arrival_s")))


def _refused(file: str, message: str) -> ProblemsFound:
    return ProblemsFound([Problem(position=Position(file), message=message)])


class _Reader:
    """One file, row by row. A row goes a fast way; only a wrong one is looked at closely."""

    def __init__(self, file: str, text: TextIO) -> None:
        self._file = file
        self._rows = csv.reader(text, skipinitialspace=True)
        self._problems: list[Problem] = []
        self._header: list[str] = []
        self._last_s = 0.0

    def read(self) -> list[Arrival]:
        self._header = [name.strip() for name in next(self._rows, [])]
        self._check_header()
        arrivals = [] if self._problems else list(self._arrivals())
        if not arrivals and not self._problems:
            self._complain(2, "the trace has no requests", hint="add rows below the header")
        if self._problems:
            raise ProblemsFound(self._problems)
        return arrivals

    def _check_header(self) -> None:
        for name in _REQUIRED:
            if name not in self._header:
                hint = did_you_mean(name, filter(None, self._header))
                self._complain(1, "there is no such column", path=name, hint=hint)
        for name in (*_REQUIRED, *_OPTIONAL):
            if self._header.count(name) > 1:
                self._complain(1, "two columns have this name", path=name, hint="rename one")

    def _arrivals(self) -> Iterator[Arrival]:
        places = [self._header.index(name) for name in _REQUIRED]
        names = [self._header.index(n) if n in self._header else None for n in _OPTIONAL]
        for count, row in enumerate(self._rows):
            if count == MAX_ROWS:
                self._complain(
                    self._rows.line_num, f"more than {MAX_ROWS} rows", hint="cut the trace"
                )
            if len(self._problems) >= MAX_PROBLEMS or count == MAX_ROWS:
                return
            if not row:
                continue
            arrival = self._arrival(row, places, names)
            if arrival is None:
                self._examine(row, self._rows.line_num)
            else:
                self._last_s = arrival.arrival_s
                yield arrival

    def _arrival(
        self, row: list[str], places: list[int], names: list[int | None]
    ) -> Arrival | None:
        """The request of this row; None if anything is wrong with it."""
        if len(row) != len(self._header):
            return None
        at, prompt, output = places
        try:
            arrival_s, prompt_tokens, output_tokens = (
                float(row[at]),
                int(row[prompt]),
                int(row[output]),
            )
        except ValueError:
            return None
        if not (
            self._last_s <= arrival_s <= MAX_ARRIVAL_S
            and 1 <= prompt_tokens <= MAX_TOKENS
            and 1 <= output_tokens <= MAX_TOKENS
        ):
            return None
        tenant, intent, model = names
        return Arrival(
            arrival_s,
            prompt_tokens,
            output_tokens,
            "" if tenant is None else row[tenant],
            "" if intent is None else row[intent],
            "" if model is None else row[model],
        )

    def _examine(self, row: list[str], line: int) -> None:
        """What is wrong with this row, all of it."""
        if len(row) != len(self._header):
            self._complain(
                line,
                f"the row has {len(row)} values, the header {len(self._header)}",
                hint="a value with a comma in it needs quotes",
            )
            return
        self._examine_time(row, line)
        for name in (_PROMPT, _OUTPUT):
            text = row[self._header.index(name)]
            if not _whole_number(text):
                hint = f"1 to {MAX_TOKENS}; drop the row if nothing was asked or answered"
                self._wrong_value(
                    row, line, name, f"expected a whole number, got {_short(text)}", hint
                )

    def _examine_time(self, row: list[str], line: int) -> None:
        text = row[self._header.index(_TIME)]
        try:
            arrival_s = float(text)
        except ValueError:
            arrival_s = math.nan
        if not 0.0 <= arrival_s <= MAX_ARRIVAL_S:
            expected = f"expected seconds from the start of the trace, got {_short(text)}"
            self._wrong_value(row, line, _TIME, expected, f"0 to {MAX_ARRIVAL_S:.0f}")
        elif arrival_s < self._last_s:
            message = f"{text} comes before {self._last_s:g}, the row above"
            self._wrong_value(row, line, _TIME, message, f"sort the rows by {_TIME}")

    def _wrong_value(self, row: list[str], line: int, name: str, message: str, hint: str) -> None:
        column = 1 + sum(len(value) + 1 for value in row[: self._header.index(name)])
        self._complain(line, message, column=column, path=name, hint=hint)

    def _complain(
        self, line: int, message: str, *, column: int = 1, path: str = "", hint: str
    ) -> None:
        position = Position(self._file, line, column)
        self._problems.append(Problem(position=position, message=message, path=path, hint=hint))


def _whole_number(text: str) -> bool:
    try:
        return 1 <= int(text) <= MAX_TOKENS
    except ValueError:
        return False


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
