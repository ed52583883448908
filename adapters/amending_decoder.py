"""A decoder whose events are amended on their way, for backends that tell a detail otherwise. Sans-IO."""

from collections.abc import Callable

from adapters.dialect import Decoder
from contracts.events import Event


class AmendingDecoder:
    """A `Decoder`: what `inner` says, after `amend` has changed each event in place. It must not raise."""

    def __init__(self, inner: Decoder, amend: Callable[[Event], None]) -> None:
        self._inner = inner
        self._amend = amend

    def feed(self, data: bytes) -> list[Event]:
        return self._amended(self._inner.feed(data))

    def close(self) -> list[Event]:
        return self._amended(self._inner.close())

    def _amended(self, events: list[Event]) -> list[Event]:
        for event in events:
            self._amend(event)
        return events
