"""A whole answer at once, awaited: for probes, which are few and small. Requests never use it."""

import asyncio

from adapters.dialect import WireHead, WireRequest
from adapters.transport import Transport
from contracts.errors import UpstreamFault, UpstreamTimeout


class _Collector:
    """A sink that keeps at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.answer: asyncio.Future[tuple[WireHead, bytes]] = (
            asyncio.get_running_loop().create_future()
        )
        self._max_bytes = max_bytes
        self._head: WireHead | None = None
        self._body = bytearray()

    def on_head(self, head: WireHead) -> None:
        self._head = head

    def on_data(self, data: bytes) -> None:
        if len(self._body) + len(data) <= self._max_bytes:
            self._body += data
        else:
            self.on_error(UpstreamFault(f"the answer is larger than {self._max_bytes} bytes"))

    def on_end(self) -> None:
        if not self.answer.done():
            assert self._head is not None, "an answer ended before its head"
            self.answer.set_result((self._head, bytes(self._body)))

    def on_error(self, error: UpstreamFault) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def fetch(
    transport: Transport, request: WireRequest, *, timeout_s: float, max_bytes: int
) -> tuple[WireHead, bytes]:
    """The answer to `request`, whatever its status.

    Raises UpstreamFault: that of the exchange, UpstreamTimeout after `timeout_s` from the start,
    `upstream_bug` for a body above `max_bytes`. The exchange is over in every case.
    """
    collector = _Collector(max_bytes)
    exchange = transport.start(request, collector)
    try:
        async with asyncio.timeout(timeout_s):
            return await collector.answer
    except TimeoutError as exc:
        raise UpstreamTimeout(f"no answer within {timeout_s:g} s", fault="timeout") from exc
    finally:
        exchange.cancel()
