"""The benchmark itself runs: a small round against real processes, and nothing is left behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NUMBER = r"(\d+\.\d) \((\d+\.\d) to (\d+\.\d)\)"


@pytest.mark.req("OPS-4")
@pytest.mark.skipif(sys.platform != "linux", reason="reads the CPU clocks of other processes")
def test_a_small_round_measures_every_contender() -> None:
    command = [sys.executable, str(HERE / "run.py"), "--rounds", "1", "--requests", "40"]
    command += ["--concurrency", "4", "--streams", "3", "--tokens", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    rows = re.findall(rf"^\| (.+?) \| {NUMBER} \| \S+ \| {NUMBER} \|", done.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["upstream, directly", "aiohttp proxy", "Setpoint"]
    for _, *samples in rows:
        assert all(float(sample) > 0 for sample in samples)
