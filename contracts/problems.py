"""What is wrong with a file an operator wrote, and where: `policies/chat.yaml:12:7: ...`."""

import difflib
from collections.abc import Iterable

import msgspec

Path = tuple[str | int, ...]
"""The way to a value in a document: `("rules", 2, "then", "model")`."""


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One defect. `path` is "rules[2].then.model"; `hint` is the remedy, often the nearest right word."""

    position: Position
    message: str
    path: str = ""
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        remedy = f" ({self.hint})" if self.hint else ""
        return f"{self.position}: {where}{self.message}{remedy}"


class ProblemsFound(Exception):
    """A document was refused. Carries every problem, in the order of the text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


def spell_path(path: Path) -> str:
    """`("rules", 2, "then")` as `rules[2].then`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest right spelling, or with what exists when nothing is near."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "none are defined"
    shown = ", ".join(names[:12])
    return f"known: {shown}{', ...' if len(names) > 12 else ''}"
