"""`setpoint` with the packages of `requirements.lock` and no other, whatever else is installed.

    python -m tests.support.only_locked COMMAND ...

A package that is not pinned there looks as if it were not installed: that is what a user has after `make run`, and
in the image.
"""

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"


class OnlyLocked(MetaPathFinder):
    """Stands before all other finders."""

    def __init__(self, locked: set[str], installed: dict[str, Sequence[str]]) -> None:
        self._hidden = {
            module
            for module, packages in installed.items()
            if not any(normal(package) in locked for package in packages)
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises ModuleNotFoundError for a module of a package that is not locked."""
        if name.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def main() -> int:
    locked = set(re.findall(r"^([a-z0-9._-]+)==", LOCK.read_text("utf-8"), re.MULTILINE))
    sys.meta_path.insert(0, OnlyLocked({*locked, "setpoint"}, dict(packages_distributions())))
    from gateway.cli import main as setpoint

    return setpoint(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
