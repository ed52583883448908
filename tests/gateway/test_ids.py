"""Ids of requests and answers."""

import os
import re
from itertools import pairwise

import pytest

from gateway import ids
from gateway.ids import new_id, new_request_id

pytestmark = pytest.mark.req("OPS-1")


def test_an_id_is_its_prefix_and_24_digits_unlike_any_other() -> None:
    made = [new_id("req_") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", one) for one in made)


def test_one_says_nothing_about_the_next() -> None:
    """Of 96 bits about half differ; that 15 or fewer do is one chance in 10^9."""
    numbers = [int(new_id(""), 16) for _ in range(100)]
    assert min((a ^ b).bit_count() for a, b in pairwise(numbers)) > 15


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
