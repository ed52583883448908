"""The benchmark itself runs: a small round against real processes, and nothing is left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.req("OPS-4")
@pytest.mark.skipif(sys.platform != "linux", reason="reads the CPU clocks of other processes")
def test_a_small_round_measures_every_contender_that_is_installed(tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    command = [sys.executable, "-m", "tests.bench.run", "--only", "requests"]
    command += ["--rounds", "1", "--requests", "40", "--concurrency", "4"]
    command += ["--json", str(figures)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(figures.read_text())
    outcomes = run["results"]["requests"]["outcomes"]
    assert {*outcomes, *run["missing"]} == {
        *("Setpoint", "vLLM Router", "nginx", "aiohttp proxy", "bare relay"),
    }
    assert {"Setpoint", "aiohttp proxy"} <= {*outcomes}
    for outcome in outcomes.values():
        assert not outcome["fault"]
        assert all(outcome["figures"]["cpu_s"]["values"])
    assert "| Setpoint | " in done.stdout


def test_a_measurement_that_does_not_exist_is_named() -> None:
    command = [sys.executable, "-m", "tests.bench.run", "--only", "request"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert done.returncode == 1
    assert "--only request: there is no such measurement, but requests, tokens" in done.stderr
