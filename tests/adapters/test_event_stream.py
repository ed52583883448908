"""What is special to events; what any framing does is in `test_framed_stream`."""

import pytest

from adapters.event_stream import EventStreamDecoder
from contracts.events import Delta, End, Event

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


class Plain(EventStreamDecoder):
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        out.append(Delta(content=f"{name} {data.decode()}"))


def events(data: bytes) -> list[Event]:
    decoder = Plain()
    return decoder.feed(data) + decoder.close()


def test_an_events_name_is_told_and_its_data_without_blanks() -> None:
    said = events(b"event: x\ndata:  a \n\ndata: b\n\n")
    assert said == [Delta(content="x a"), Delta(content="message b"), End()]


def test_an_event_without_data_is_a_heartbeat() -> None:
    assert events(b": ping\n\ndata:\n\ndata:  \n\nevent: end\n\n") == [End()]


def test_events_of_several_names_are_told_in_their_order() -> None:
    stream = b"".join(b"event: %b\ndata: %d\n\n" % (b"xyyx"[i : i + 1], i) for i in range(4))
    assert events(stream) == [
        *(Delta(content=told) for told in ("x 0", "y 1", "y 2", "x 3")),
        End(),
    ]
