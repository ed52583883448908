"""What is wrong with one configuration, each problem at its place, and what of the text can be relied on.

Must stay true: nothing is said about a part that is not intact, and what a mistake may have hidden is
not missed a second time.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from contracts import problems
from contracts.config import Config
from contracts.problems import Problem, spell_path
from contracts.yaml_document import Reading


class Findings:
    """One loading: where it looks, and the problems it has met so far."""

    def __init__(self, reading: Reading[Config], base_dir: Path, env: Mapping[str, str]) -> None:
        self.reading = reading
        self.base_dir = base_dir
        """What paths in the configuration start from."""
        self.env = env
        self.problems = list(reading.problems)
        self.warnings: list[Problem] = []
        """What is allowed and most likely not meant."""

    def note(
        self, path: problems.Path, message: str, hint: str = "", *, sure: bool | None = None
    ) -> None:
        """`sure` is for what is said at `path` and does not hang on all that is in it."""
        if self.reading.intact(path) if sure is None else sure:
            self.problems.append(self._at(path, message, hint))

    def warn(self, path: problems.Path, message: str, hint: str = "") -> None:
        self.warnings.append(self._at(path, message, hint))

    def _at(self, path: problems.Path, message: str, hint: str) -> Problem:
        position = self.reading.position(path)
        return Problem(position=position, path=spell_path(path), message=message, hint=hint)

    def note_repeated(self, path: problems.Path, field: str, names: Sequence[str]) -> None:
        """`names` are what `field` is in each entry of the list at `path`: no two may be the same."""
        for index in repeated(names):
            self.note((*path, index, field), f"{names[index]!r} is given twice")

    def sure(self, parent: problems.Path, *names: str) -> bool:
        """Whether these fields are what the author meant: intact, and not there only where no
        unknown field beside them looks like a slip of theirs."""
        unknown = [str(path[-1]) for path in self.reading.damaged if path and path[:-1] == parent]
        return all(
            self.reading.intact((*parent, name))
            and (
                (*parent, name) in self.reading.positions
                or not difflib.get_close_matches(name, unknown, n=1)
            )
            for name in names
        )

    def all_named(self, path: problems.Path, field: str) -> bool:
        """Whether no mistake can have hidden the name of an entry of the list at `path`."""
        if self.sure(path[:-1], str(path[-1])):
            return True
        entries = self.reading.tree
        for part in path:
            entries = entries.get(part) if isinstance(entries, dict) else None
        return isinstance(entries, list) and all(
            self.reading.intact((*path, index, field)) for index in range(len(entries))
        )


def repeated(names: Sequence[str]) -> Iterator[int]:
    """The index of each name that has come before."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield index
        seen.add(name)
