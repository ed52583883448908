"""Whether the intents and models that a trace names exist, and on which line one does not."""

import csv
import gzip
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from contracts.problems import Position, Problem, ProblemsFound, did_you_mean
from gateway.simulation.trace import Arrival


def check_names(
    path: Path, arrivals: Sequence[Arrival], intents: Collection[str], models: Collection[str]
) -> None:
    """Raises ProblemsFound with the first row of each name that does not exist.

    `arrivals` are those of the file at `path`, which is read again only if there is one.
    """
    found = {
        **_strangers("intent", (a.intent for a in arrivals), intents),
        **_strangers("model", (a.model for a in arrivals), models),
    }
    if not found:
        return
    wanted = set(found.values())
    lines = {nth: line for nth, line in enumerate(_lines(path)) if nth in wanted}
    known = {"intent": intents, "model": models}
    raise ProblemsFound(
        Problem(
            position=Position(str(path), lines[nth]),
            path=kind,
            message=f"there is no {kind} {name!r}"
            + (" that is simulated" if kind == "model" else ""),
            hint=did_you_mean(name, known[kind]),
        )
        for (kind, name), nth in found.items()
    )


def _strangers(
    kind: str, names: Iterable[str], known: Collection[str]
) -> dict[tuple[str, str], int]:
    """Each name that is not known, and where it comes first."""
    seen: dict[str, int] = {}
    for nth, name in enumerate(names):
        if name and name not in seen:
            seen[name] = nth
    return {(kind, name): nth for name, nth in seen.items() if name not in known}


def _lines(path: Path) -> Iterator[int]:
    """The line of each request, as `read_trace` takes them."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, skipinitialspace=True)
        next(rows, None)
        for row in rows:
            if row:
                yield rows.line_num
