"""The control benchmark itself runs: every case, much shortened, and none of them judged."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "control.py"
CASES = (
    "Poisson 1.6x",
    "Poisson 0.5x",
    "Poisson 0.7x",
    "Poisson 1.6x, 1.5x slower half-way",
    "step 0.7x to 1.4x",
    "two intents 2x: interactive",
    "two intents 2x: batch",
    "cost ceiling",
    "cost ceiling: quality floor",
    "spike 0.6x to 1.8x, two models",
    "crowded 0.9x and 0.6x, one model",
    "steady 1.3x and 0.3x for an hour, two models",
    "actions confirmed",
)


def rows(*arguments: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]


@pytest.mark.req("INT-12", "INT-11")
def test_every_case_runs_and_nothing_is_judged_by_a_short_run() -> None:
    told = rows("--quick", "--workers", "1")
    assert tuple(row[0] for row in told[:-1]) == CASES
    assert told[-1][0].startswith("simulate ")
    assert "byte-identical twice" in told[-1][1]
    assert {row[3] for row in told} == {""}
    assert told[CASES.index("cost ceiling: quality floor")][1] == "0 answers below it"


def test_traces_that_are_not_there_are_told(tmp_path: Path) -> None:
    told = rows("--traces", str(tmp_path), "azure23_code", "--workers", "1")
    assert told == [["azure23_code_m02_22 1.6x", "not available", "> 1 x the best rival", "", ""]]
