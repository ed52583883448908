"""A folder of policy files, or one file, to a `PolicySet`. The only place that reads policies from disk.

Files are taken in the order of their names. Hidden files and editors' backups are passed over, and
so is everything that does not end in .yaml or .yml. Sizes and counts are bounded. What is wrong is
a `ProblemsFound` with every problem of every file; the caller keeps the policy it has.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import structs

import policies
from contracts import yaml_document
from contracts.catalog import Catalog
from contracts.policy import PolicyFile
from contracts.problems import Position, Problem, ProblemsFound
from contracts.yaml_document import Reading
from policies.compiler import compile_policies
from policies.policy_set import PolicySet

SHIPPED = Path(policies.__file__).absolute().parent
"""The policies that come with Setpoint."""
SUFFIXES = (".yaml", ".yml")
MAX_FILES = 64
MAX_FILE_BYTES = 256 * 1024


def load_policies(
    path: Path | str, catalog: Catalog, env: Mapping[str, str] | None = None
) -> PolicySet:
    """Read and compile the policies at `path`, a folder or a file, against what exists.

    With `env`, `${NAME}` in values is replaced. Raises ProblemsFound; a path that is not there,
    cannot be read or holds no policy file is a problem too. The shipped policies suit any
    catalogue: what needs a model that is not there is idle. An operator's own may not do that.
    """
    path = Path(path)
    texts: dict[str, str] = {}
    readings = []
    for file in policy_paths(path):
        name = str(file)
        try:
            texts[name] = _text(file)
        except ProblemsFound as exc:
            readings.append(_unread(name, exc.problems))
        else:
            readings.append(yaml_document.read(texts[name], PolicyFile, file=name, env=env))
    if path.absolute() == SHIPPED:
        catalog = structs.replace(catalog, discovering=True)
    return compile_policies(readings, catalog, texts)


def policy_paths(path: Path | str) -> list[Path]:
    """The files that `load_policies` would read, in order. Raises ProblemsFound."""
    path = Path(path)
    try:
        found = sorted(_candidates(path)) if path.is_dir() else [path]
    except OSError as exc:
        raise _refused(path, f"cannot be read: {exc.strerror or exc}") from exc
    if not found:
        raise _refused(path, "the folder holds no policy file", "a name ends in .yaml or .yml")
    if len(found) > MAX_FILES:
        raise _refused(path, f"{len(found)} policy files; the most is {MAX_FILES}")
    return found


def _candidates(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.suffix in SUFFIXES and entry.name[0] not in ".#~" and entry.is_file():
            yield entry


def _unread(name: str, problems: list[Problem]) -> Reading[PolicyFile]:
    """A file of which nothing is known; the others are looked at all the same."""
    return Reading(value=None, problems=problems, file=name, positions={}, damaged=frozenset({()}))


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as exc:
        raise _refused(file, "there is no such file or folder") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        why = getattr(exc, "strerror", None) or exc
        raise _refused(file, f"cannot be read: {why}") from exc
    if len(content) > MAX_FILE_BYTES:
        raise _refused(file, f"larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        before = content[: exc.start]
        line, column = before.count(b"\n") + 1, exc.start - before.rfind(b"\n")
        position = Position(str(file), line, column)
        raise ProblemsFound([Problem(position=position, message="not UTF-8 text")]) from exc


def _refused(path: Path, message: str, hint: str = "") -> ProblemsFound:
    return ProblemsFound([Problem(position=Position(str(path)), message=message, hint=hint)])
