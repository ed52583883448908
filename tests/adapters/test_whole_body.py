import pytest

from adapters.whole_body import MAX_DOCUMENT_BYTES, WholeBodyDecoder, unreadable
from contracts.events import Delta, End, Event, Fault

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


class Plain(WholeBodyDecoder):
    def read(self, body: bytes) -> list[Event]:
        return [Delta(content=body.decode()), End()]


@pytest.mark.parametrize("chunks", [(b"abc",), (b"a", b"b", b"c"), (b"", b"abc")])
def test_a_body_is_read_once_and_when_it_is_whole(chunks: tuple[bytes, ...]) -> None:
    decoder = Plain()
    assert [decoder.feed(chunk) for chunk in chunks] == [[] for _ in chunks]
    assert decoder.close() == [Delta(content="abc"), End()]
    assert (decoder.feed(b"more"), decoder.close()) == ([], [])


def test_a_body_has_a_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_DOCUMENT_BYTES == 64 * 1024 * 1024
    monkeypatch.setattr("adapters.whole_body.MAX_DOCUMENT_BYTES", 4)
    decoder = Plain()
    assert decoder.feed(b"abcd") == []
    (fault,) = decoder.feed(b"e")
    assert isinstance(fault, Fault)
    assert (decoder.feed(b"f"), decoder.close()) == ([], [])


def test_what_cannot_be_read_is_the_engines_fault() -> None:
    assert unreadable().error.status == 502
