"""Which tests prove which requirement: `make requirements`.

Reads the tables of `docs/requirements.md` and every `pytest.mark.req("RUN-3", ...)` under `tests/`.
Tests are parsed, never imported, so the answer needs nothing but Python and costs no set-up.
Exits 1 when a MUST has no test (unless `NOT_YET` says why), when a test names a requirement that
does not exist, and when `NOT_YET` holds something that is not an open MUST.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NOT_YET: dict[str, str] = {}
"""Each MUST that may still be without a test, and what it waits for. Closing an issue removes its lines."""

_ROW = re.compile(r"^\|\s*([A-Z]{2,}-\d+)\s*\|\s*(MUST|SHOULD|MAY):\s*(.+?)\s*\|\s*$")
_ID_LIKE = re.compile(r"^\|\s*([A-Z]{2,}-\d+)\s*\|")


class Requirement(NamedTuple):
    """One row of the document."""

    id: str
    strength: str
    text: str


class Mark(NamedTuple):
    """One id in one `req` mark. `test` is `tests/x/test_y.py::Class::test_z`; a mark on a module
    or class names that module or class."""

    id: str
    test: str


def read_requirements(document: str) -> list[Requirement]:
    """Rows in the order of the text. Raises ValueError for a row without MUST, SHOULD or MAY, and
    for an id that is there twice."""
    found: dict[str, Requirement] = {}
    for line in document.splitlines():
        if (anything := _ID_LIKE.match(line)) is None:
            continue
        row = _ROW.match(line)
        if row is None:
            raise ValueError(f"{anything[1]}: expected '| id | MUST: text |', got {line!r}")
        if row[1] in found:
            raise ValueError(f"{row[1]} is there twice")
        found[row[1]] = Requirement(*row.groups())
    return list(found.values())


def read_marks(source: str, name: str) -> Iterator[Mark]:
    """The `req` marks in one file of tests: on functions, classes, `pytest.param` and `pytestmark`.

    Raises ValueError for an id that is not a literal: it could not be listed.
    """
    yield from _marks_below(ast.parse(source, filename=name), name)


def _marks_below(node: ast.AST, where: str) -> Iterator[Mark]:
    for child in ast.iter_child_nodes(node):
        inner = where
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{where}::{child.name}"
        elif isinstance(child, ast.Call) and _is_req(child.func):
            for argument in child.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise ValueError(f"{where}: a requirement's id must be a literal string")
                yield Mark(argument.value, where)
        yield from _marks_below(child, inner)


def _is_req(function: ast.expr) -> bool:
    return ast.unparse(function) in ("pytest.mark.req", "mark.req")


def complaints(
    requirements: list[Requirement], marks: list[Mark], not_yet: dict[str, str]
) -> list[str]:
    """What is wrong, one sentence each; empty when every promise is kept."""
    known = {requirement.id: requirement for requirement in requirements}
    proven = {mark.id for mark in marks}
    musts = [r for r in requirements if r.strength == "MUST"]
    return [
        *(f"{m.test} names {m.id}, which does not exist" for m in marks if m.id not in known),
        *(f"NOT_YET holds {id_}, which is no MUST" for id_ in not_yet if not _is_must(known, id_)),
        *(
            f"{must.id} has no test: {must.text}"
            for must in musts
            if must.id not in proven and must.id not in not_yet
        ),
    ]


def _is_must(known: dict[str, Requirement], id_: str) -> bool:
    return id_ in known and known[id_].strength == "MUST"


def report(
    requirements: list[Requirement], marks: list[Mark], not_yet: dict[str, str]
) -> Iterator[str]:
    """The matrix, as lines."""
    tests: dict[str, list[str]] = {}
    for mark in marks:
        tests.setdefault(mark.id, []).append(mark.test)
    for requirement in requirements:
        yield f"{requirement.id}  {requirement.strength}: {requirement.text}"
        proofs = sorted(set(tests.get(requirement.id, [])))
        yield from (f"    {proof}" for proof in proofs)
        if requirement.id in not_yet:
            yield f"    not yet: {not_yet[requirement.id]}"
        elif not proofs:
            yield "    no test"
    proven = sum(requirement.id in tests for requirement in requirements)
    yield f"{proven} of {len(requirements)} requirements have tests"


def main(arguments: list[str], root: Path) -> int:
    """Exit status: 0 all well, 1 something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gaps", action="store_true", help="print only what is missing")
    gaps_only = parser.parse_args(arguments).gaps
    requirements = read_requirements((root / "docs/requirements.md").read_text("utf-8"))
    marks = [
        mark
        for path in sorted((root / "tests").rglob("test_*.py"))
        for mark in read_marks(path.read_text("utf-8"), path.relative_to(root).as_posix())
    ]
    if not gaps_only:
        print("\n".join(report(requirements, marks, NOT_YET)))
    missing = complaints(requirements, marks, NOT_YET)
    for sentence in missing:
        print(f"requirements: {sentence}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[2]))
