"""The measurement of affinity itself runs: a small round against real servers, and it prints its tables."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.affinity import SLOTS, Always, FirstTurn
from tests.support.llama_server import LlamaServer

ROOT = Path(__file__).resolve().parents[2]
READ = r"(\d+) \((\d+)\)"


@pytest.mark.real
@pytest.mark.req("ADM-7")
def test_a_small_round_measures_every_way(llama: LlamaServer) -> None:
    """`llama` only says whether a real server runs here at all."""
    command = [sys.executable, "-m", "tests.bench.affinity", "--quick"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(rf"{READ} \| {READ} \| {READ} \|$", done.stdout, re.M)) == 1
    rows = re.findall(rf"^\| [^|]+ \| (\d+) \| {READ} \| {READ} \|$", done.stdout, re.M)
    assert len(rows) == 1
    assert all(int(read) > 0 for read in rows[0])


@pytest.mark.req("ADM-7")
def test_whoever_chooses_gives_no_slot_twice_at_once() -> None:
    chooser = Always()
    slots = [chooser.take(session, first=True) for session in (0, 1, None, 2)]
    assert sorted(slot for slot in slots if slot is not None) == list(range(SLOTS))
    for slot in slots:
        chooser.give_back(slot)
    assert chooser.take(1, first=False) == slots[1]
    assert chooser.take(9, first=True) == slots[2]  # before a session's, that of the one without

    only_first = FirstTurn()
    assert only_first.take(0, first=True) == 0
    assert only_first.take(1, first=True) is None  # something runs: its slot is not known
    for _ in range(2):
        only_first.give_back(None)
    assert only_first.take(0, first=False) is None
