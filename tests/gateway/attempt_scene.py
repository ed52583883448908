"""An attempt on a pool of one endpoint, in virtual time."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from adapters.dialect import AttemptContext
from contracts.config import Engine
from contracts.errors import GatewayError
from contracts.events import Event, Opened
from contracts.inference import InferRequest, Operation, Timeouts
from gateway.attempt import Attempt
from gateway.intake import read_request
from gateway.pools import Pool
from tests.fakes.scripted import Script, ScriptedTransport

MakePool = Callable[..., Pool]


def request(operation: Operation = "chat", **fields: object) -> InferRequest:
    body: dict[str, object] = {"model": "m", **fields}
    if operation == "chat":
        body["messages"] = [{"role": "user", "content": "hi"}]
    return read_request(
        msgspec.json.encode(body), operation, request_id="req_1", key="", headers={}
    )


class Scene:
    """An attempt on a pool of one endpoint, with a sink that remembers and notes what comes too late."""

    def __init__(
        self,
        make_pool: MakePool,
        script: Script,
        *,
        infer: InferRequest | None = None,
        timeouts: Timeouts | None = None,
        is_last: bool = True,
        engine: Engine = "openai",
        on_events: Callable[[Attempt], None] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = ScriptedTransport(script)
        self.pool = make_pool("a", self.transport, slots=1, engine=engine)
        self.slot = self.pool.enter(0).slot.result()
        self.seen: list[Event] = []
        self.cancelled = False
        self.after_cancel: list[Event] = []
        self._on_events = on_events
        self.attempt = Attempt(
            infer or request(),
            AttemptContext(upstream_model="up"),
            dialect=self.pool.dialect,
            slot=self.slot,
            sink=self,
            timeouts=timeouts or Timeouts(),
            is_last=is_last,
            new_id=lambda: "call_1",
            clock=self.loop.time,
        )

    def events(self, events: list[Event]) -> None:
        (self.after_cancel if self.cancelled else self.seen).extend(events)
        if self._on_events is not None:
            self._on_events(self.attempt)

    def cancel(self) -> None:
        self.attempt.cancel()
        self.cancelled = True

    @property
    def free(self) -> bool:
        return self.pool.signals().inflight == 0 and self.pool.endpoints[0].inflight == 0

    @property
    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.seen if not isinstance(event, Opened)]

    @property
    def exchange_cancelled_at_s(self) -> float | None:
        return self.transport.exchanges[0].cancelled_at_s

    async def fault(self) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            async with asyncio.timeout(1000):
                await self.attempt.committed
        return caught.value
