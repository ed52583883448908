"""`setpoint replay ID`: a recorded execution asked once more, and what is different now.

Does not import SQLAlchemy until it runs.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gateway import logs
from gateway.ids import new_request_id
from gateway.records.faults import RecordsDown, SchemaMismatch

if TYPE_CHECKING:
    from gateway.records.replay import Replayed
    from gateway.records.restored import Restored
    from gateway.settings import LoadedConfig

SAME, DIFFERS, UNDONE = 0, 1, 2
"""Exit codes: the same text, another one, it could not be compared."""


class CannotReplay(Exception):
    """The message says why."""


def add_flags(parser: argparse.ArgumentParser, add_config: Callable[..., None]) -> None:
    add_config(parser)
    parser.add_argument("id", metavar="ID", help="of the execution, or of its request")
    parser.add_argument(
        "--decide",
        action="store_true",
        help="decide anew, by the policies in force now, in place of the recorded plan; shows what changed",
    )


def run(arguments: argparse.Namespace, config: Path | None, out: TextIO) -> int:
    """Carry it out; `SAME` or `DIFFERS`. Raises CannotReplay, ProblemsFound, OSError."""
    from gateway.configuration import load

    return asyncio.run(_run(load(config, env=os.environ), arguments.id, arguments.decide, out))


async def _run(loaded: "LoadedConfig", name: str, decide: bool, out: TextIO) -> int:
    from gateway.records.replay import NotAsked, recorded_facts, replay

    row = await _find(loaded, name)
    then = _restored(row, name)
    try:
        with _warnings_shown(loaded):
            now = await replay(loaded, then, decide=decide)
    except NotAsked as exc:
        raise CannotReplay(f"{name}: {exc}") from exc
    from gateway.records.comparison import compared, table

    lines = [f"execution {row['execution_id']}, request {row['request_id']}", ""]
    if decide:
        lines += [*(_changes(then, now) or ["the plan is the same"]), ""]
    lines += [*table(recorded_facts(row), now.facts), ""]
    lines += [f"note: {note}" for note in then.notes]
    difference = compared(then.answer, now.answer)
    if now.error is not None and now.answer is None:
        _write(out, lines)
        raise CannotReplay(f"{name}: now it failed: {now.error}")
    if now.error is not None:
        lines.append(f"now it broke off: {now.error}")
    if then.answer is not None and then.answer.truncated:
        lines.append("only the beginning of its answer was recorded, and is compared")
    _write(out, [*lines, *(difference or ["the text is the same"])])
    return DIFFERS if difference else SAME


@contextmanager
def _warnings_shown(loaded: "LoadedConfig") -> Iterator[None]:
    """What goes wrong on the way, on stderr: which endpoint is not ready, for example."""
    output = logs.LogOutput(
        level="warning",
        form="text",
        file=None,
        redact=loaded.redactor().redact,
        on_drop=lambda: None,
        stream=sys.stderr,
    )
    try:
        yield
    finally:
        output.close()


async def _find(loaded: "LoadedConfig", name: str) -> dict[str, Any]:
    if loaded.records is None:
        raise CannotReplay(f"{loaded.file} has no records: add records: sqlite:///var/setpoint.db")
    from gateway.records.database import Database
    from gateway.records.execution_store import ExecutionStore

    database = Database(loaded.records.database, migrates=False)
    try:
        row = await ExecutionStore(database).find(name)
    except (RecordsDown, SchemaMismatch) as exc:
        raise CannotReplay(str(exc)) from exc
    finally:
        await database.aclose()
    if row is None:
        raise CannotReplay(f"there is no execution and no request {name!r} in the records")
    return row


def _restored(row: dict[str, Any], name: str) -> "Restored":
    from gateway.records.restored import Unreplayable, restored

    try:
        return restored(row, new_request_id())
    except Unreplayable as exc:
        raise CannotReplay(f"{name} cannot be replayed: {exc}") from exc


def _changes(then: "Restored", now: "Replayed") -> list[str]:
    from gateway.records.comparison import changed

    names = [
        (what, f"{old or '-'} -> {new or '-'}")
        for what, old, new in (
            ("intent", then.decision.intent, now.decision.intent),
            ("policies", then.decision.policy_version, now.decision.policy_version),
            ("rules", then.decision.summary, now.decision.summary),
        )
        if old != new
    ]
    return changed(then.plan, now.plan, names)


def _write(out: TextIO, lines: list[str]) -> None:
    out.write("\n".join(lines).rstrip("\n") + "\n")
    out.flush()
