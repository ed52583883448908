"""Bytes become lines, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lines import LineDecoder, LineTooLong

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


def lines(*chunks: bytes, limit: int = 1000) -> list[bytes]:
    decoder = LineDecoder(limit)
    return [line for chunk in chunks for line in decoder.feed(chunk)] + decoder.close()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\nb\n\nc", [b"a", b"b", b"", b"c"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"\xe2\x80\xa8\n", [b"\xe2\x80\xa8"]),
        (b"a\r", [b"a"]),
    ],
)
def test_only_a_line_feed_ends_a_line(data: bytes, told: list[bytes]) -> None:
    assert lines(data) == told


@given(data=st.binary(max_size=60), places=st.lists(st.integers(0, 60), max_size=5))
def test_cutting_them_differently_changes_nothing(data: bytes, places: list[int]) -> None:
    data = data.replace(b"\x00", b"\n").replace(b"\x01", b"\r\n")
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(edges)]
    assert lines(*pieces) == lines(data)
    assert b"\n".join(lines(data)) == data.replace(b"\r\n", b"\n").removesuffix(b"\r").removesuffix(
        b"\n"
    )


@pytest.mark.parametrize(
    "chunks", [(b"x" * 11,), (b"x" * 6, b"x" * 6), (b"x" * 6, b"x" * 6 + b"\n")]
)
def test_a_line_without_end_is_an_error(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(LineTooLong):
        lines(*chunks, limit=10)
    assert lines(b"x" * 10, limit=10) == [b"x" * 10]
