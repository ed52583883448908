"""Conformance: every row of the table of llm-d's refusals, met by a real request to the fake.

Each row is brought about, and what a client sees of it is compared to the letter: status, reason
header, body, and that there is neither a `Retry-After` nor the mark of a response that came from a pod.
Rows: llm-d-router main @ ebab687.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from adapters.dialect import WireRequest
from adapters.fakellmd.epp_settings import Band, EppSettings, Saturation
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings
from contracts.errors import StreamBroken
from tests.support.exposition import Exposition

pytestmark = [pytest.mark.req("INT-9"), pytest.mark.looptime]
Build = Callable[..., LlmdSettings]
OBJECTIVES = {"critical": 10, "batch": -5}
ONE_AT_ONCE = Saturation(detector="concurrency", max_concurrency=1)
RE, SU = "inference error: ResourceExhausted - ", "inference error: ServiceUnavailable - "


class Scene:
    """A fake with one model of one slot, and clients that ask it."""

    def __init__(self, exact: Build, recorder: Any, **epp: Any) -> None:
        # Without TTLs or scrapes of its own, unless a row says otherwise.
        defaults = {"objectives": OBJECTIVES, "scrape_interval_s": 0.0}
        self.fake = FakeLlmd(exact(max_num_seqs=1, epp=EppSettings(**(defaults | epp))))
        self._recorder = recorder

    def start(self, objective: str = "", **headers: str) -> Any:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 400}
        body |= {"stream": bool(headers.pop("stream", "")), "ignore_eos": True}
        told = {"content-type": "application/json", "x-request-id": "r"}
        told |= {"x-llm-d-inference-objective": objective}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = WireRequest(
            method="POST",
            path="/v1/chat/completions",
            headers=tuple(told.items()),
            body=json.dumps(body).encode(),
        )
        sink = self._recorder()
        sink.exchange = self.fake.start(request, sink)
        return sink

    async def ask(self, objective: str = "", **headers: str) -> Any:
        sink = self.start(objective, **headers)
        await sink.over.wait()
        return sink

    async def metrics(self) -> Exposition:
        sink = self._recorder()
        self.fake.start(WireRequest(method="GET", path="/metrics", headers=()), sink)
        await sink.over.wait()
        return Exposition(sink.body.decode())

    def configure(self, **settings: Any) -> None:
        self.fake.reconfigure(msgspec.json.encode(settings))


async def queue_at_capacity(make: Callable[..., Scene]) -> Any:
    bands = (Band(priority=0, max_requests=1),)
    scene = make(flow_control=True, saturation=ONE_AT_ONCE, priority_bands=bands)
    scene.start()
    scene.start()
    return await scene.ask()


async def queue_at_capacity_in_bytes(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True, saturation=ONE_AT_ONCE, max_bytes=1)
    return await scene.ask()


async def capacity_while_the_pool_is_empty(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True, max_requests=1)
    scene.configure(pods_down={"m": [0]})
    scene.start()
    return await scene.ask()


async def ttl_expired(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True, saturation=ONE_AT_ONCE, default_request_ttl_s=2.0)
    scene.start()
    return await scene.ask()


async def ttl_expired_in_v0_9(make: Callable[..., Scene]) -> Any:
    return await ttl_expired(lambda **epp: make(profile="v0.9", **epp))


async def ttl_expired_while_the_pool_is_empty(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True)  # after llm-d's own 60 s
    scene.configure(pods_down={"m": [0]})
    return await scene.ask()


async def shutdown_while_it_waits(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True, saturation=ONE_AT_ONCE)
    scene.start()
    waiting = scene.start()
    await asyncio.sleep(0.1)
    await scene.fake.aclose()
    return waiting


async def a_restart_of_the_picker(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True, saturation=ONE_AT_ONCE)
    scene.start()
    waiting = scene.start()
    await asyncio.sleep(0.1)
    scene.configure(epp={"flow_control": False})
    await waiting.over.wait()
    return waiting


async def filters_drain_all_endpoints(make: Callable[..., Scene]) -> Any:
    detector = Saturation(detector="concurrency", max_concurrency=1, filters=True)
    scene = make(saturation=detector)
    scene.start()
    return await scene.ask()


async def no_candidates(make: Callable[..., Scene]) -> Any:
    scene = make()
    scene.configure(pods_down={"m": [0]})
    return await scene.ask()


async def no_candidates_though_it_was_dispatched(make: Callable[..., Scene]) -> Any:
    """The queue's usage limit lets an empty pool's saturation of 1.0 through."""
    scene = make(flow_control=True)
    scene.configure(pods_down={"m": [0]}, epp={"usage_limit": {"ceiling": 2.0}})
    return await scene.ask()


async def sheddable_while_saturated_without_flow_control(make: Callable[..., Scene]) -> Any:
    scene = make()
    for _ in range(6):
        scene.start()
    return await scene.ask("batch")


async def latency_slo_admitter(make: Callable[..., Scene]) -> Any:
    scene = make(admitters=("latency-slo-admitter",))
    scene.configure(kv_cache_tokens=40)
    scene.start()
    scene.start()
    await asyncio.sleep(0.6)
    return await scene.ask("batch", x_llm_d_slo_ttft_ms="10")


async def probabilistic_admitter(make: Callable[..., Scene]) -> Any:
    scene = make(admitters=("probabilistic-admitter",))
    for _ in range(5):
        scene.start()
    return await scene.ask("batch")


async def eviction_before_the_head(make: Callable[..., Scene]) -> Any:
    scene = make(flow_control=True, saturation=ONE_AT_ONCE, enable_eviction=True)
    victim = scene.start("batch")
    await asyncio.sleep(0.1)
    scene.start("critical")
    await victim.over.wait()
    return victim


async def conditional_decode(make: Callable[..., Scene]) -> Any:
    return await make().ask(prefer="if-available")


TTL = "request timed out in queue: request evicted from queue: request TTL expired"
ROWS: list[tuple[Callable[..., Awaitable[Any]], int, str | None, str]] = [
    (
        *(queue_at_capacity, 429, "rejected-saturated"),
        f"{RE}request rejected pre-queue: queue at capacity",
    ),
    (
        *(queue_at_capacity_in_bytes, 429, "rejected-saturated"),
        f"{RE}request rejected pre-queue: queue at capacity",
    ),
    (
        *(capacity_while_the_pool_is_empty, 503, "rejected-no-endpoints"),
        f"{SU}no endpoints available: request rejected pre-queue: no endpoints available",
    ),
    (ttl_expired, 429, "rejected-ttl-expired", RE + TTL),
    (ttl_expired_in_v0_9, 503, "rejected-ttl-expired", SU + TTL),
    (
        *(ttl_expired_while_the_pool_is_empty, 503, "rejected-no-endpoints"),
        f"{SU}request timed out in queue and no endpoints are available: request evicted from "
        "queue: request TTL expired: no endpoints available",
    ),
    (
        *(shutdown_while_it_waits, 503, "rejected-shutting-down"),
        f"{SU}flow controller shutting down: request evicted from queue: flow controller is not "
        "running",
    ),
    (
        *(a_restart_of_the_picker, 503, "rejected-shutting-down"),
        f"{SU}flow controller shutting down: request evicted from queue: flow controller is not "
        "running",
    ),
    (
        *(filters_drain_all_endpoints, 429, "rejected-saturated"),
        f"{RE}no endpoints available for the given request",
    ),
    (
        *(no_candidates, 503, "rejected-no-endpoints"),
        f"{SU}failed to find endpoint candidates for serving the request",
    ),
    (
        *(no_candidates_though_it_was_dispatched, 503, "rejected-no-endpoints"),
        f"{SU}failed to find endpoint candidates for serving the request",
    ),
    (
        *(sheddable_while_saturated_without_flow_control, 429, None),
        f"{RE}system saturated, sheddable request dropped",
    ),
    (
        *(latency_slo_admitter, 500, None),
        "inference error: Internal - request cannot be admitted: no valid endpoint available to "
        "serve the request",
    ),
    (
        *(probabilistic_admitter, 500, None),
        "inference error: Internal - request cannot be admitted: inference error: "
        "ResourceExhausted - probabilistic-admitter: rejected, saturation=0.800 prob=1.00",
    ),
    (eviction_before_the_head, 429, "evicted", "request evicted by flow control"),
    (
        *(conditional_decode, 412, None),
        "inference error: PreconditionFailed - no decode worker has the requested KV cache",
    ),
]


@pytest.fixture
def make(exact: Build, recorder: Any) -> Callable[..., Scene]:
    return lambda **epp: Scene(exact, recorder, **epp)


Make = Callable[..., Scene]


@pytest.mark.parametrize(
    ("row", "status", "reason", "text"), ROWS, ids=[row[0].__name__ for row in ROWS]
)
async def test_a_row(
    make: Make,
    row: Callable[..., Awaitable[Any]],
    status: int,
    reason: str | None,
    text: str,
) -> None:
    got = await row(make)
    assert (got.status, got.body.decode()) == (status, text)
    assert got.head.headers.get("x-llm-d-request-dropped-reason") == reason
    assert got.head.headers["content-type"] == "text/plain"
    assert got.head.headers["content-length"] == str(len(text))
    assert not {"retry-after", "x-went-into-resp-headers"} & set(got.head.headers)


async def test_a_row_that_nobody_hears_client_disconnect_in_queue(make: Make) -> None:
    """503 rejected-context-cancelled has no reader: it is seen in the metrics alone."""
    scene = make(flow_control=True, saturation=ONE_AT_ONCE)
    first = scene.start()
    leaver = scene.start()
    await asyncio.sleep(0.25)
    leaver.exchange.cancel()
    await first.over.wait()
    assert leaver.calls == []
    seen = await scene.metrics()
    name = "llm_d_epp_flow_control_requests_total"
    assert seen.total(name, outcome="EvictedContextCancelled", priority="0") == 1
    assert seen.total(name) == 2
    waited = "llm_d_epp_flow_control_request_queue_duration_seconds_sum"
    assert seen.total(waited, outcome="EvictedContextCancelled") == pytest.approx(0.25)


async def test_a_row_after_the_head_an_eviction_is_a_broken_stream(make: Make) -> None:
    scene = make(flow_control=True, saturation=ONE_AT_ONCE, enable_eviction=True)
    victim = scene.start("batch", stream="yes")
    await asyncio.sleep(0.7)
    assert victim.calls == ["head", "data"]
    critical = scene.start("critical", stream="yes")
    await victim.over.wait()
    assert victim.calls == ["head", "data", "error"]
    assert isinstance(victim.error, StreamBroken)
    await critical.over.wait()
    assert critical.calls == ["head", "data", "end"]
    seen = await scene.metrics()
    assert seen.total("llm_d_epp_flow_control_revocations_issued_total") == 1
    assert seen.total("llm_d_epp_request_running") == 0
