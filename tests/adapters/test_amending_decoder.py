import pytest

from adapters.amending_decoder import AmendingDecoder
from contracts.events import Delta, End, Event

pytestmark = pytest.mark.req("RUN-3")


class Said:
    def feed(self, data: bytes) -> list[Event]:
        return [Delta(content=data.decode())]

    def close(self) -> list[Event]:
        return [Delta(content="rest"), End()]


def test_every_event_is_amended_the_last_ones_too() -> None:
    def amend(event: Event) -> None:
        if isinstance(event, Delta):
            event.content += "!"

    decoder = AmendingDecoder(Said(), amend)
    said = decoder.feed(b"a") + decoder.feed(b"b") + decoder.close()
    assert said == [*(Delta(content=text) for text in ("a!", "b!", "rest!")), End()]
