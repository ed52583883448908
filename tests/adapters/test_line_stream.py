"""What is special to lines; what any framing does is in `test_framed_stream`."""

import pytest

from adapters.line_stream import LineStreamDecoder
from contracts.events import Delta, End, Event

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


class Plain(LineStreamDecoder):
    def read(self, line: bytes, out: list[Event]) -> None:
        out.append(Delta(content=line.decode()))


def test_an_empty_line_is_a_line_and_one_needs_no_end() -> None:
    decoder = Plain()
    said = decoder.feed(b"a\n\r\nb") + decoder.close()
    assert said == [Delta(content="a"), Delta(content=""), Delta(content="b"), End()]
