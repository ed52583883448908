"""What every decoder of a stream does alike, with the least of dialects in each framing: a frame is its text."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.event_stream import EventStreamDecoder
from adapters.framed_stream import FramedStreamDecoder
from adapters.line_stream import LineStreamDecoder
from adapters.sse import MAX_EVENT_BYTES
from contracts.errors import StreamBroken, UpstreamFault
from contracts.events import Delta, End, Event, Fault

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


class Told:
    """What both do with a frame."""

    held = ""

    def told(self, decoder: FramedStreamDecoder[Any], text: bytes, out: list[Event]) -> None:
        match text:
            case b"end":
                decoder.end(out)
            case b"error":
                decoder.fault(UpstreamFault("said so"), out)
            case b"nonsense":
                decoder.broken("nonsense", out)
            case b"hold":
                self.held = "held"
            case _:
                out.append(Delta(content=text.decode("utf-8", "replace")))

    def rest(self, out: list[Event]) -> None:
        if self.held:
            out.append(Delta(content=self.held))


class Events(EventStreamDecoder, Told):
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        self.told(self, data, out)

    def last(self, out: list[Event]) -> None:
        self.rest(out)
        super().last(out)


class Lines(LineStreamDecoder, Told):
    def read(self, line: bytes, out: list[Event]) -> None:
        self.told(self, line, out)

    def last(self, out: list[Event]) -> None:
        self.rest(out)
        super().last(out)


Made = tuple[Callable[[], FramedStreamDecoder[Any]], bytes]
FRAMINGS: dict[str, Made] = {"events": (Events, b"data: %b\n\n"), "lines": (Lines, b"%b\n")}
either = pytest.mark.parametrize("framing", FRAMINGS)


def events(framing: str, *chunks: bytes) -> list[Event]:
    decoder = FRAMINGS[framing][0]()
    said = [event for chunk in chunks for event in decoder.feed(chunk)]
    return said + decoder.close() + decoder.close()


def frames(framing: str, *texts: bytes) -> list[bytes]:
    return [FRAMINGS[framing][1] % text for text in texts]


@either
def test_frames_come_in_order_and_the_body_ends_them(framing: str) -> None:
    told = [Delta(content="a"), Delta(content="b"), End()]
    assert events(framing, *frames(framing, b"a", b"b")) == told
    assert events(framing, b"".join(frames(framing, b"a", b"b")).rstrip()) == told


@either
def test_what_is_held_back_comes_before_the_end(framing: str) -> None:
    said = events(framing, *frames(framing, b"hold", b"a"))
    assert said == [Delta(content="a"), Delta(content="held"), End()]


@either
@pytest.mark.parametrize("last", [b"end", b"error", b"nonsense"])
def test_after_its_last_event_nothing_is_read(framing: str, last: bytes) -> None:
    sent = frames(framing, b"a", last, b"b", b"hold")
    apart, together = events(framing, *sent), events(framing, b"".join(sent))
    assert len(apart) == len(together) == 2
    assert type(apart[-1]) is type(together[-1])


@either
def test_a_broken_stream_says_so(framing: str) -> None:
    (fault,) = events(framing, *frames(framing, b"nonsense"))
    assert isinstance(fault, Fault)
    assert isinstance(fault.error, StreamBroken)


@either
def test_a_frame_without_end_is_a_fault(framing: str) -> None:
    (start,) = frames(framing, b"x" * (MAX_EVENT_BYTES // 2))
    *_, last = events(framing, start.rstrip(), b"x" * MAX_EVENT_BYTES, b"x")
    assert isinstance(last, Fault)


@given(
    framing=st.sampled_from(sorted(FRAMINGS)),
    texts=st.lists(st.binary(max_size=20), max_size=6),
    at=st.integers(0, 150),
)
def test_no_bytes_raise_and_cutting_them_changes_nothing(
    framing: str, texts: list[bytes], at: int
) -> None:
    data = b"".join(
        text if i % 3 == 2 else frames(framing, text)[0] for i, text in enumerate(texts)
    )
    whole, cut = events(framing, data), events(framing, data[:at], data[at:])
    assert [type(event) for event in whole] == [type(event) for event in cut]
    assert whole[:-1] == cut[:-1]
