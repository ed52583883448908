"""How what is measured is started."""

import os
import sys
from pathlib import Path

import pytest

from tests.bench.processes import pinned


@pytest.mark.req("OPS-4")
def test_what_is_measured_keeps_its_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"]
    with pinned(command, os.sched_getaffinity(0), tmp_path / "log") as process:
        process.wait(10)
    assert (tmp_path / "log").read_text() == "False\n"
