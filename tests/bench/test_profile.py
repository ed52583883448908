"""What of a profile is arithmetic."""

import os

import pytest

from tests.bench.profile import shares, thread_cpu_s

FOLDED = """\
main (a.py:1);serve (b.py:10);read (c.py:5) 6
main (a.py:1);serve (b.py:12);write (c.py:9) 2
main (a.py:1);serve (b.py:12);serve (b.py:10) 2
"""


def test_a_function_has_what_it_calls_and_counts_once_a_stack() -> None:
    found = dict(shares(FOLDED))
    assert found == pytest.approx(
        {"main (a.py)": 1.0, "serve (b.py)": 1.0, "read (c.py)": 0.6, "write (c.py)": 0.2}
    )
    assert shares("") == []


def test_each_thread_has_a_time_of_its_own() -> None:
    assert any(spent > 0.0 for spent in thread_cpu_s(os.getpid()).values())
