"""The locks: every package pinned and hashed, the same versions in both, no index named."""

import re
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.req("OPS-8")
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-model.lock")


def pins(path: Path) -> dict[str, str]:
    """Name to version."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE))


def normal(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_nothing_but_pins_and_hashes(root: Path, lock: str) -> None:
    text = (root / lock).read_text("utf-8")
    code = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    pin = re.compile(r"[a-z0-9._-]+==\S+( ; .+?)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in code if not pin.fullmatch(line) and not digest.fullmatch(line)] == []
    assert "://" not in text


def test_both_locks_hold_the_same_versions(root: Path) -> None:
    run, dev = pins(root / "requirements.lock"), pins(root / "requirements-dev.lock")
    assert run
    assert {name: dev.get(name) for name in run} == run


def test_all_that_the_project_asks_for_is_locked(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    run = {
        normal(requirement)
        for requirement in [*project["dependencies"], *extras["build"], *extras["otel"]]
    }
    dev = run | {normal(requirement) for extra in extras.values() for requirement in extra}
    assert run <= pins(root / "requirements.lock").keys()
    assert dev <= pins(root / "requirements-dev.lock").keys()
