"""Headers as lines: each ends where it is meant to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.head_lines import fit, read, spelled

pytestmark = pytest.mark.req("RUN-1")
BROKEN = ("a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b")
NAMES = st.from_regex(r"[A-Za-z-]{1,9}", fullmatch=True)
VALUES = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@pytest.mark.parametrize("broken", BROKEN)
def test_no_header_can_begin_another_one(broken: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        spelled({"x-setpoint-decision": broken})
    with pytest.raises(ValueError, match="line break"):
        fit(f"req_1interactive{broken}")
    fit("req_1interactive; models=größer")


@given(headers=st.dictionaries(NAMES, VALUES))
def test_what_is_spelled_reads_as_it_was(headers: dict[str, str]) -> None:
    lines = spelled(headers)
    assert read(lines) == headers
    assert list(read(lines)) == list(headers)
    assert lines.count("\n") == len(headers)
