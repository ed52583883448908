"""`setpoint records ls | show | export`: what is in the records, for people and for programs.

Reads only. Does not import SQLAlchemy until it runs.
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, get_args

import msgspec

from contracts.quantities import Duration
from gateway import logs
from gateway.records.faults import RecordsDown, SchemaMismatch
from gateway.records.rows import Outcome

if TYPE_CHECKING:
    from gateway.records.execution_store import ExecutionStore, Filter

LS_LIMIT = 20
_encode = msgspec.json.Encoder(enc_hook=str).encode
_COLUMNS = ("accepted", "execution", "caller", "intent", "model", "status", "outcome")
_SAID = ("body", "native", "answer")
_NUMBERS = ("ttft", "e2e", "tokens", "cost")


class Refused(Exception):
    """What was asked makes no sense; the message says why."""


class Undone(Exception):
    """It makes sense, and could not be done."""


def add_commands(parser: argparse.ArgumentParser, add_config: Callable[..., None]) -> None:
    """The three commands and their flags; `arguments.work` is then for `run`."""
    commands = parser.add_subparsers(required=True, metavar="ls | show | export")
    listing = commands.add_parser("ls", help="the newest, one a line")
    showing = commands.add_parser("show", help="one with its attempts and its decision, as JSON")
    exporting = commands.add_parser("export", help="all of them, oldest first, as JSON Lines")
    for each in (listing, showing, exporting):
        add_config(each)
    for each in (listing, exporting):
        _add_filters(each)
    listing.add_argument("--limit", type=_count, default=LS_LIMIT, help=f"default {LS_LIMIT}")
    listing.set_defaults(work=_list)
    showing.add_argument("id", metavar="ID", help="of the execution, or of its request")
    showing.set_defaults(work=_show)
    exporting.add_argument("--limit", type=_count, help="default: all")
    exporting.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    exporting.set_defaults(work=_export)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--intent", metavar="NAME")
    parser.add_argument("--caller", metavar="NAME", help='"" for anonymous ones')
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="a duration ago such as 1h, or a date such as 2026-01-31T12:00",
    )
    parser.add_argument(
        "--status",
        metavar="STATUS",
        help=f"an HTTP status such as 503 or 5xx, or {', '.join(get_args(Outcome))}",
    )


def run(arguments: argparse.Namespace, config: Path | None, out: TextIO) -> None:
    """Carry it out. Raises ProblemsFound, Refused, Undone, OSError."""
    from gateway.configuration import load

    loaded = load(config, env=os.environ)
    if loaded.records is None:
        raise Refused(f"{loaded.file} has no records: add records: sqlite:///var/setpoint.db")
    from gateway.records.database import Database
    from gateway.records.execution_store import ExecutionStore

    async def work() -> None:
        assert loaded.records is not None
        database = Database(loaded.records.database, migrates=False)
        try:
            await arguments.work(arguments, ExecutionStore(database), out)
        finally:
            await database.aclose()

    try:
        asyncio.run(work())
    except (RecordsDown, SchemaMismatch) as exc:
        raise Undone(str(exc)) from exc


async def _list(arguments: argparse.Namespace, store: "ExecutionStore", out: TextIO) -> None:
    rows = await store.newest(_filter(arguments), arguments.limit)
    lines = [(*_COLUMNS, *_NUMBERS), *map(_brief, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if number >= len(_COLUMNS) else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.write("  ".join(cells).rstrip() + "\n")


def _brief(row: dict[str, Any]) -> tuple[str, ...]:
    tokens = row["completion_tokens"]
    cost = row["cost_usd"]
    model = row["model"]
    if row["served_by"] not in (None, model):
        model = f"{model} -> {row['served_by']}"
    cells = (
        logs.utc(row["accepted_s"])[:19] + "Z",
        row["execution_id"],
        row["caller"] or "-",
        row["intent"] or "-",
        model,
        str(row["status"]),
        row["error_code"] or row["outcome"],
        _milliseconds(row["ttft_s"]),
        _milliseconds(row["e2e_s"]),
        "-" if tokens is None else f"{row['prompt_tokens']}+{tokens}",
        "-" if cost is None else f"${cost:.6f}",
    )
    # A client chose some of this, and it must not speak to the terminal.
    return tuple("".join(c if c.isprintable() else "?" for c in cell) for cell in cells)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}ms"


async def _show(arguments: argparse.Namespace, store: "ExecutionStore", out: TextIO) -> None:
    row = await store.find(arguments.id)
    if row is None:
        raise Undone(f"there is no execution and no request {arguments.id!r} in the records")
    line = _line(row)
    # a request that only its client could read stays in one line
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        line = msgspec.json.format(line, indent=2)
    out.write(line.decode() + "\n")


async def _export(arguments: argparse.Namespace, store: "ExecutionStore", out: TextIO) -> None:
    wanted = _filter(arguments)
    if arguments.output is None:
        await _write_pages(store, wanted, arguments.limit, out)
        return
    with arguments.output.open("w", encoding="utf-8") as file:
        await _write_pages(store, wanted, arguments.limit, file)


async def _write_pages(
    store: "ExecutionStore", wanted: "Filter", limit: int | None, out: TextIO
) -> None:
    async for page in store.pages(wanted, limit):
        out.writelines(_line(row).decode() + "\n" for row in page)


def _line(row: dict[str, Any]) -> bytes:
    """One execution as JSON: the columns, its date for people, its attempts; what was said as it is there."""
    told = {"accepted": logs.utc(row["accepted_s"]), **row}
    del told["row_bytes"]
    for name in _SAID:
        text = told.pop(name)
        told[name] = None if text is None else msgspec.Raw(text)
    return _encode(told)


# -- what was asked ---------------------------------------------------------------------------


def _filter(arguments: argparse.Namespace) -> "Filter":
    from gateway.records.execution_store import Filter

    status, outcome = _status(arguments.status)
    return Filter(
        intent=arguments.intent,
        caller=arguments.caller,
        since_s=None if arguments.since is None else since_s(arguments.since, time.time()),
        status=status,
        outcome=outcome,
    )


def since_s(text: str, now_s: float) -> float:
    """Unix time of `1h` ago, or of a date; one without a zone is UTC. Raises Refused."""
    try:
        return now_s - Duration.parse(text)
    except ValueError:
        pass
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Refused(
            f"--since: expected a duration such as 1h or a date such as 2026-01-31T12:00, got {text!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def _status(text: str | None) -> tuple[tuple[int, int] | None, str | None]:
    match text:
        case None:
            return None, None
        case _ if text in get_args(Outcome):
            return None, text
        case _ if len(text) == 3 and text[0].isdecimal() and text[1:] == "xx":
            return (int(text[0]) * 100, int(text[0]) * 100 + 99), None
        case _ if len(text) == 3 and text.isdecimal():
            return (int(text), int(text)), None
    raise Refused(
        f"--status: expected a status such as 503 or 5xx, or one of {', '.join(get_args(Outcome))}"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)
