"""The sixteen provider faults are survived: in both timing profiles, streamed and not. Virtual time."""

import pytest

from tests.faults.cases import CASES, Case, run
from tests.faults.stage import PROFILES
from tests.faults.table import PAGE, table

pytestmark = pytest.mark.req("RUN-5", "RUN-7", "RUN-10")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_fault_is_survived(case: Case, profile: str, stream: bool) -> None:
    assert run(case, profile, stream=stream).happened


def test_the_table_in_the_documentation_is_what_happens() -> None:
    """`python -m tests.faults.table --write` renews it."""
    found, survived = table()
    assert survived
    assert found in PAGE.read_text("utf-8")
