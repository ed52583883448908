"""Lines become documents: events, and errors in bare JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gemini_frames import Frames, FrameTooLarge

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


def documents(*lines: bytes, limit: int = 1000) -> list[bytes]:
    frames = Frames(limit)
    return [document for line in lines for document in frames.line(line)] + frames.close()


def test_an_event_ends_with_an_empty_line() -> None:
    assert documents(b"data: {}", b"", b"data:[1,", b"data: 2]", b"") == [b"{}", b"[1,\n 2]"]


def test_an_event_without_its_empty_line_ends_with_the_body() -> None:
    assert documents(b"data: {}") == [b"{}"]


def test_what_is_neither_data_nor_json_is_passed_over() -> None:
    assert documents(b": ping", b"event: x", b"id: 1", b"data:", b"", b"hello", b"") == []


@pytest.mark.parametrize("first", [b"{", b"  {", b"[{"])
def test_bare_json_ends_where_its_brackets_do(first: bytes) -> None:
    rest = [b'  "error": {', b'    "message": "a } \\" ]"', b"  }", b"}" * first.count(b"{")]
    rest[-1] += b"]" * first.count(b"[")
    frames = Frames()
    assert [frames.line(line) for line in (first, *rest[:-1])] == [[]] * 4
    (document,) = frames.line(rest[-1])
    assert document == b"\n".join([first, *rest]).strip()
    assert frames.line(b"data: 1") == []
    assert frames.line(b"") == [b"1"]


def test_an_event_before_bare_json_is_not_lost() -> None:
    assert documents(b"data: 1", b"{}") == [b"1", b"{}"]


def test_half_of_a_document_is_told_as_it_is() -> None:
    assert documents(b'{"error": {') == [b'{"error": {']


@pytest.mark.parametrize("lines", [[b"data: " + b"x" * 9] * 3, [b"{" + b" " * 9] * 3])
def test_a_document_without_end_is_an_error(lines: list[bytes]) -> None:
    with pytest.raises(FrameTooLarge):
        documents(*lines, limit=20)


@given(lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=8))
def test_no_lines_raise(lines: list[bytes]) -> None:
    for document in documents(*lines):
        assert document.strip()
