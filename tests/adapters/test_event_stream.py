"""What every event-stream decoder does alike, with the least of dialects: an event's data is its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.event_stream import EventStreamDecoder
from adapters.sse import MAX_EVENT_BYTES
from contracts.errors import StreamBroken, UpstreamFault
from contracts.events import Delta, End, Event, Fault

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


class Plain(EventStreamDecoder):
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        match name:
            case "end":
                self.end(out)
            case "error":
                self.fault(UpstreamFault(data.decode()), out)
            case "nonsense":
                self.broken("nonsense", out)
            case _:
                out.append(Delta(content=data.decode("utf-8", "replace")))


def events(*chunks: bytes) -> list[Event]:
    decoder = Plain()
    said = [event for chunk in chunks for event in decoder.feed(chunk)]
    return said + decoder.close() + decoder.close()


def test_events_come_in_order_and_the_body_ends_them() -> None:
    assert events(b"data: a\n\ndata:  b \n\n") == [Delta(content="a"), Delta(content="b"), End()]


def test_an_event_without_data_is_a_heartbeat() -> None:
    assert events(b": ping\n\ndata:\n\ndata:  \n\nevent: end\n\n") == [End()]


@pytest.mark.parametrize("last", [b"event: end\ndata: x\n\n", b"event: error\ndata: x\n\n"])
def test_after_its_last_event_nothing_is_read(last: bytes) -> None:
    apart = events(b"data: a\n\n", last, b"data: b\n\n")
    together = events(b"data: a\n\n" + last + b"data: b\n\n")
    assert len(apart) == len(together) == 2
    assert type(apart[-1]) is type(together[-1])


def test_a_broken_stream_says_so() -> None:
    (fault,) = events(b"event: nonsense\ndata: x\n\n")
    assert isinstance(fault, Fault)
    assert isinstance(fault.error, StreamBroken)


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert events(b"data: a") == [Delta(content="a"), End()]


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_an_event_without_end_is_a_fault(tail: bytes) -> None:
    piece = b"data: " + b"x" * (MAX_EVENT_BYTES // 2)
    *_, last = events(piece, piece[6:], piece[6:] + tail)
    assert isinstance(last, Fault)


@given(lines=st.lists(st.binary(max_size=20), max_size=6), at=st.integers(0, 150))
def test_no_bytes_raise_and_cutting_them_changes_nothing(lines: list[bytes], at: int) -> None:
    data = b"\n".join(b"data:" + line if i % 2 else line for i, line in enumerate(lines))
    whole, cut = events(data), events(data[:at], data[at:])
    assert [type(event) for event in whole] == [type(event) for event in cut]
    assert whole[:-1] == cut[:-1]
