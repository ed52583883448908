"""`deploy/Dockerfile` and `.dockerignore`, as far as they can be judged without building."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.req("OPS-8")
PACKAGES = ("contracts", "policies", "adapters", "gateway")


@pytest.fixture
def steps(root: Path) -> list[tuple[str, str]]:
    """(instruction, argument), continuation lines joined, comments dropped."""
    text = (root / "deploy/Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def copied(steps: list[tuple[str, str]]) -> list[str]:
    """What is taken from the repository."""
    sources: list[str] = []
    for instruction, argument in steps:
        if instruction == "COPY" and not argument.startswith("--from="):
            sources += argument.split()[:-1]
    return sources


def test_what_is_copied_exists(root: Path, steps: list[tuple[str, str]]) -> None:
    assert all((root / source).exists() for source in copied(steps)), copied(steps)
    assert {f"{package}/" for package in PACKAGES} <= set(copied(steps))


def test_what_is_copied_is_what_the_context_lets_through(
    root: Path, steps: list[tuple[str, str]]
) -> None:
    lines = (root / ".dockerignore").read_text("utf-8").splitlines()
    assert lines.index("*") < min(i for i, line in enumerate(lines) if line.startswith("!"))
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied(steps))


def test_nothing_is_installed_without_a_hash(steps: list[tuple[str, str]]) -> None:
    installs = [a for i, a in steps if i == "RUN" and "pip install" in a]
    assert len(installs) == 2
    assert all("--require-hashes" in a or "--no-deps --no-build-isolation" in a for a in installs)


def test_the_image_runs_as_nobody_in_particular(steps: list[tuple[str, str]]) -> None:
    last_stage = max(i for i, (instruction, _) in enumerate(steps) if instruction == "FROM")
    users = [a for i, a in steps[last_stage:] if i == "USER"]
    assert [int(user) > 0 for user in users] == [True]


def test_the_health_check_asks_for_life_not_readiness(steps: list[tuple[str, str]]) -> None:
    (check,) = [a for i, a in steps if i == "HEALTHCHECK"]
    program = json.loads(check.split("CMD", 1)[1])
    assert program[:2] == ["python", "-c"]
    assert "/livez" in program[2]
    compile(program[2], "HEALTHCHECK", "exec")


def test_the_images_command_is_the_one_of_compose(
    steps: list[tuple[str, str]], compose: dict[str, Any]
) -> None:
    commands = {i: json.loads(a) for i, a in steps if i in ("ENTRYPOINT", "CMD")}
    assert commands["ENTRYPOINT"] == ["setpoint"]
    assert commands["CMD"] == compose["services"]["gateway"]["command"]
