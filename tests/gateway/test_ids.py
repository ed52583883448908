"""Ids of requests and answers."""

import os
import re
from itertools import pairwise
from types import SimpleNamespace

import pytest

from gateway import ids
from gateway.ids import new_id, new_request_id

pytestmark = pytest.mark.req("OPS-1")


def test_an_id_is_its_prefix_and_24_digits_unlike_any_other() -> None:
    made = [new_id("req_") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", one) for one in made)


def test_one_says_nothing_about_the_next() -> None:
    """Of 72 random bits about half differ; that 8 or fewer do is one chance in 10^11 a pair."""
    numbers = [int(new_id("")[6:], 16) for _ in range(100)]
    assert min((a ^ b).bit_count() for a, b in pairwise(numbers)) > 8


def test_ids_of_one_time_are_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of later ones come behind them, wherever in their second they were drawn."""
    monkeypatch.setattr(ids, "_drawn", [])
    drawn = []
    for now_s in (1_800_000_000.0, 1_800_000_000.9, 1_800_000_001.0, 1_800_000_700.5):
        monkeypatch.setattr(ids, "time", SimpleNamespace(time=lambda now_s=now_s: now_s))
        ids._drawn.clear()
        drawn.append([new_id("") for _ in range(30)])
    seconds = [{each[:6] for each in some} for some in drawn]
    assert seconds[0] == seconds[1] == {"49d200"}
    assert max(drawn[1]) < min(drawn[2]) <= max(drawn[2]) < min(drawn[3])


def test_a_child_process_has_ids_of_its_own() -> None:
    while not ids._drawn:  # what is made already must not be taken by both
        new_id("")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id("").encode())
        os._exit(0)
    mine = new_id("")
    os.waitpid(child, 0)
    theirs = os.read(reader, 24).decode()
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 24
    assert theirs != mine


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(100)}) == 100
