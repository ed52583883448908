"""The measurement of cancels runs, and counts what it says it counts."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.cancel import percentile

HERE = Path(__file__).parent


@pytest.mark.req("RUN-5")
@pytest.mark.skipif(
    sys.platform != "linux", reason="reads how long other processes wait for a core"
)
def test_every_cancel_of_a_small_run_reaches_the_upstream() -> None:
    command = [sys.executable, str(HERE / "cancel.py"), "--streams", "3", "--cancels", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 cancels beside 3 streams")
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == [
        "| both ways together",
        "| the client closes",
        "| `POST /v1/tasks/{id}/cancel`",
        "| both, less what the gateway waited for a core",
        "| without a gateway: the client closes",
    ]
    told = {name: [float(cell.rstrip(" |")) for cell in cells] for name, *cells in rows[1:]}
    assert all(0 <= p50 <= p99 <= most for p50, p99, most in told.values())
    assert told["| the client closes"][0] > 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.sampled_from([0.5, 0.99]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[int], share: float
) -> None:
    found = percentile([float(value) for value in values], share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)
