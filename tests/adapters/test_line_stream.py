"""What every decoder of lines does alike, with the least of dialects: a line is its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.line_stream import LineStreamDecoder
from adapters.sse import MAX_EVENT_BYTES
from contracts.errors import StreamBroken, UpstreamFault
from contracts.events import Delta, End, Event, Fault

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


class Plain(LineStreamDecoder):
    def __init__(self) -> None:
        super().__init__()
        self.held = ""

    def read(self, line: bytes, out: list[Event]) -> None:
        match line:
            case b"end":
                self.end(out)
            case b"error":
                self.fault(UpstreamFault("said so"), out)
            case b"nonsense":
                self.broken("nonsense", out)
            case b"hold":
                self.held = "held"
            case _:
                out.append(Delta(content=line.decode("utf-8", "replace")))

    def last(self, out: list[Event]) -> None:
        if self.held:
            out.append(Delta(content=self.held))
        super().last(out)


def events(*chunks: bytes) -> list[Event]:
    decoder = Plain()
    said = [event for chunk in chunks for event in decoder.feed(chunk)]
    return said + decoder.close() + decoder.close()


def test_lines_come_in_order_and_the_body_ends_them() -> None:
    assert events(b"a\nb") == [Delta(content="a"), Delta(content="b"), End()]


def test_what_is_held_back_comes_before_the_end() -> None:
    assert events(b"hold\na\n") == [Delta(content="a"), Delta(content="held"), End()]


@pytest.mark.parametrize("last", [b"end\n", b"error\n", b"nonsense\n"])
def test_after_its_last_event_nothing_is_read(last: bytes) -> None:
    apart = events(b"a\n", last, b"b\n")
    together = events(b"a\n" + last + b"b\n")
    assert len(apart) == len(together) == 2
    assert type(apart[-1]) is type(together[-1])


def test_a_broken_stream_says_so() -> None:
    (fault,) = events(b"nonsense\n")
    assert isinstance(fault, Fault)
    assert isinstance(fault.error, StreamBroken)


def test_a_line_without_end_is_a_fault() -> None:
    *_, last = events(b"a\n", b"x" * MAX_EVENT_BYTES, b"x")
    assert isinstance(last, Fault)


@given(data=st.binary(max_size=80), at=st.integers(0, 80))
def test_no_bytes_raise_and_cutting_them_changes_nothing(data: bytes, at: int) -> None:
    assert events(data) == events(data[:at], data[at:])
