"""A whole gateway without its HTTP edge, on the event loop's own clock: for virtual time.

It stands in front of simulated engines in process, or of whatever transports a test puts into its
pools. `breach` makes a promise look broken, so that the loop acts without a minute of load.
"""

import asyncio
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from contracts.errors import GatewayError, RejectedByPolicy, ShedByIntent
from contracts.inference import Operation
from gateway.answers import Identity
from gateway.configuration import load
from gateway.control import Control
from gateway.flight_recorder import CLIENT_GONE
from gateway.intake import read_request
from gateway.progress import Progress
from gateway.replies import FoldReply
from gateway.routing_plan import plan
from gateway.runtime import Gateway
from policies.flight import Flight

ENGINE = (
    "{max_num_seqs: 64, inter_token_latency: 20ms, inter_token_latency_std_dev: 0s, "
    "time_factor_under_load: 1, prefill_overhead: 100ms, prefill_time_per_token: 0s, "
    "prefill_time_std_dev: 0s}"
)
"""A first token after 100 ms, and 20 ms to each next one, however many run at once."""
CONFIG = f"""\
pools: [{{id: sim, engine: llmd, simulate: {ENGINE}}}]
models: [{{name: big, pool: sim, quality: 0.9, price: {{input: 1, output: 2}}}}]
policies: policies.yaml
"""
_numbers = itertools.count(1)


class Asked(msgspec.Struct):
    """What became of one request."""

    progress: Progress
    error: GatewayError | None
    body: bytes = b""


class VirtualGateway:
    """Configuration and policies as text. Call `begin` before anything else, and tick by hand."""

    def __init__(self, folder: Path, policies: str, config: str = CONFIG) -> None:
        self.policies_file = folder / "policies.yaml"
        self.policies_file.write_text(policies)
        (folder / "setpoint.yaml").write_text(config)
        self.now = asyncio.get_running_loop().time
        self.gateway = Gateway(load(folder / "setpoint.yaml", env={}), clock=self.now)
        self.control = Control(self.gateway)

    async def begin(self) -> None:
        await self.gateway.health.first_look()

    async def ask(
        self,
        intent: str = "",
        *,
        operation: Operation = "chat",
        key: str = "",
        headers: Mapping[str, str] | None = None,
        facts: Mapping[str, Any] | None = None,
        **members: Any,
    ) -> Asked:
        """A request from first to last, as the edge would carry it. A cancelled one is a client that
        has left. `facts` are set over those of the body: what another door knows of its requests."""
        gateway = self.gateway
        body: dict[str, Any] = {"model": "big", "max_tokens": 10, "ignore_eos": True, **members}
        if operation == "chat":
            body.setdefault("messages", [{"role": "user", "content": "Hi"}])
        infer = read_request(
            msgspec.json.encode(body),
            operation,
            request_id=f"req_{next(_numbers)}",
            key=key,
            headers={"x-setpoint-intent": intent, **(headers or {})},
        )
        if facts:
            infer = replace(infer, facts=replace(infer.facts, **facts))
        accepted_s = gateway.clock()
        catalog = gateway.catalog
        decision = gateway.decide(infer.facts, gateway.policy, catalog)
        recorder = gateway.recorder(infer, decision, gateway.policy, catalog, accepted_s)
        asked = Asked(Progress(accepted_s=accepted_s), None)
        reply = FoldReply(
            Identity(operation=operation, id="x", created_s=0, model="big"), max_bytes=1 << 20
        )
        try:
            if (reject := decision.shaping.reject) is not None:
                kind = RejectedByPolicy if decision.shed_for is None else ShedByIntent
                raise kind(reject.message, retry_after_s=reject.retry_after_s)
            await gateway.executor.infer(
                infer, plan(decision, catalog), catalog, reply, asked.progress, recorder
            )
            asked.body = reply.body()
        except GatewayError as exc:
            asked.error = exc
        except asyncio.CancelledError:
            recorder.close(CLIENT_GONE, None, asked.progress, gateway.clock())
            raise
        status = asked.error.status if asked.error else 200
        fault = asked.error or asked.progress.fault
        recorder.close(status, fault, asked.progress, gateway.clock())
        return asked

    async def tick(self, seconds: float, every_s: float = 0.25) -> None:
        """The loop at work for so long."""
        for _ in range(round(seconds / every_s)):
            await asyncio.sleep(every_s)
            self.control.tick()

    async def aclose(self) -> None:
        await self.gateway.aclose()


def breach(
    gateway: Gateway, intent: str, *, count: int = 40, pool: str = "sim", lane: str = "big"
) -> None:
    """As if so many requests of an intent had just been refused for a lack of room."""
    now_s = gateway.clock()
    for _ in range(count):
        flight = _flight(gateway, intent, (pool, lane), now_s)
        gateway.loop.offered(flight)
        gateway.loop.refused(flight, now_s)


def _flight(gateway: Gateway, intent: str, lane: tuple[str, str], now_s: float) -> Flight:
    promised = gateway.policy.intent(intent)
    return Flight(
        -next(_numbers),
        intent=intent,
        model=lane[1],
        lane=lane,
        caller="",
        priority=promised.priority,
        prompt_tokens=3,
        arrived_s=now_s,
        ttft_objective_s=promised.objectives.ttft_s,
    )
