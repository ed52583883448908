"""Several fake llm-ds behind one transport: each model has engines of its own. Routes, and nothing else."""

from collections.abc import Mapping

import msgspec

from adapters.dialect import WireRequest
from adapters.fakellmd.exchange import LocalExchange
from adapters.fakellmd.service import FakeLlmd
from adapters.transport import ResponseSink


class _Asked(msgspec.Struct):
    model: str = ""


_decode = msgspec.json.Decoder(_Asked).decode


class FakeFleet:
    """A `Transport`. `fakes` by the name of the one model that each serves; the first answers whatever
    names none of them, and so decides about health."""

    def __init__(self, fakes: Mapping[str, FakeLlmd]) -> None:
        self.fakes = dict(fakes)
        self._first = next(iter(self.fakes.values()))

    def start(self, request: WireRequest, sink: ResponseSink) -> LocalExchange:
        return self._of(request).start(request, sink)

    async def aclose(self) -> None:
        for fake in self.fakes.values():
            await fake.aclose()

    def _of(self, request: WireRequest) -> FakeLlmd:
        if request.method != "POST":
            return self._first
        try:
            named = _decode(request.body).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._first
        return self.fakes.get(named, self._first)
