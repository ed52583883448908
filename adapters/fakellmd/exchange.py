"""One request to the fake in process: a sink at one end, a fake at the other.

Keeps the promises of `adapters.transport`: the order of callbacks, silence after `cancel`, and a
`pause` that holds everything back. What is held is bounded by the answer, which is settled before
it begins. Nothing is decided here.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from adapters.dialect import WireHead
from adapters.transport import ResponseSink
from contracts.errors import UpstreamFault


class LocalExchange:
    """An `Exchange`. `on_close` is called once, when it is over, however it ended."""

    def __init__(
        self,
        sink: ResponseSink,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[["LocalExchange"], None],
    ) -> None:
        self._sink = sink
        self._loop = loop
        self._on_close = on_close
        self._held: deque[Callable[[], None]] = deque()
        self._paused = False
        self._flushing = False
        self._over = False
        """The answer is complete, or nobody wants it: nothing more is accepted."""
        self.headed = False

    @property
    def over(self) -> bool:
        return self._over

    # -- the sink's end -----------------------------------------------------------------

    def cancel(self) -> None:
        self._held.clear()
        self._close()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._held and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # -- the fake's end -----------------------------------------------------------------

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.headed = True
        head = WireHead(status=status, headers=headers)
        self._say(lambda: self._sink.on_head(head))

    def data(self, data: bytes) -> None:
        if not data or self._over:
            return
        if self._paused or self._held:
            self._held.append(lambda: self._sink.on_data(data))
        else:
            self._sink.on_data(data)

    def end(self) -> None:
        self._say(self._sink.on_end)
        self._close()

    def error(self, error: UpstreamFault) -> None:
        self._say(lambda: self._sink.on_error(error))
        self._close()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer at once."""
        self.head(status, {**headers, "content-length": str(len(body))})
        self.data(body)
        self.end()

    # -- inside -------------------------------------------------------------------------

    def _say(self, call: Callable[[], None]) -> None:
        if self._over:
            return
        if self._paused or self._held:
            self._held.append(call)
        else:
            call()

    def _flush(self) -> None:
        self._flushing = False
        while self._held and not self._paused:
            self._held.popleft()()

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._on_close(self)
