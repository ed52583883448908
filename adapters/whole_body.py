"""An answer that means nothing before it is whole: collected up to a bound, and then read once. Sans-IO.

For backends that ignored `stream: true`, and for answers that are no stream. A dialect says in `read` what
the body means. What must stay true: no bytes raise, and memory has a bound.
"""

from abc import ABC, abstractmethod

from contracts.errors import UpstreamFault
from contracts.events import Event, Fault

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


class WholeBodyDecoder(ABC):
    """A `Decoder` of one document. One instance an attempt."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._over = False

    @abstractmethod
    def read(self, body: bytes) -> list[Event]:
        """Everything that the body says, its terminal event included. Must not raise."""

    def feed(self, data: bytes) -> list[Event]:
        if self._over:
            return []
        self._body += data
        if len(self._body) > MAX_DOCUMENT_BYTES:
            self._over = True
            return [Fault(error=UpstreamFault("the engine's answer is too large"))]
        return []

    def close(self) -> list[Event]:
        if self._over:
            return []
        self._over = True
        return self.read(bytes(self._body))


def unreadable() -> Fault:
    """For a body that is no JSON."""
    return Fault(error=UpstreamFault("the engine's answer is not valid JSON"))
