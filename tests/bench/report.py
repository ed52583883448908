"""The tables of a run as Markdown, as JSON, and in docs/bench.md."""

from collections.abc import Mapping

import msgspec

from tests.bench.result import Result


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to read the figures a year later."""

    date: str
    machine: str
    missing: dict[str, str]
    """Contenders that were not installed, and why."""
    results: dict[str, Result]
    """By the name that `--only` knows it by."""


def markdown(result: Result) -> str:
    """One table, with what was done above it."""
    lines = [f"**{result.title}.** {result.said}", ""]
    cells = (result.head, ["---"] * len(result.head), *result.rows)
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines)


def head(run: Run) -> str:
    """When, where, and who was not there."""
    lines = [f"{run.date}, {run.machine}. Medians (least to most)."]
    lines += [f"{name} was not there: {why}." for name, why in run.missing.items()]
    return " ".join(lines)


def text(run: Run) -> str:
    """All tables of the run."""
    tables = [markdown(result) for result in run.results.values()]
    return "\n\n".join([head(run), *tables]) + "\n"


def written(document: str, run: Run) -> str:
    """The document with each table that the run has between its markers, and when and where it was made:
    `<!-- bench NAME -->` and `<!-- end -->`, each a line of its own. Raises ValueError for a missing marker."""
    for name, result in run.results.items():
        begin, end = f"<!-- bench {name} -->\n", "<!-- end -->\n"
        before, found, rest = document.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the document has no `{begin.strip()}` ... `{end.strip()}`")
        document = f"{before}{begin}{head(run)}\n\n{markdown(result)}\n{end}{after}"
    return document


def faults(results: Mapping[str, Result]) -> list[str]:
    """What went wrong, a line each."""
    return [
        f"{name}: {who}: {fault}"
        for name, result in results.items()
        for who, fault in result.faults.items()
    ]
