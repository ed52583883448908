"""A sink that writes down what it is told, and requests to tell the fake."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.dialect import WireHead, WireRequest
from adapters.fakellmd.epp_headers import Wants
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from contracts.errors import UpstreamFault

EXACT = Latency(
    latency_calculator="constant",
    time_to_first_token_s=0.5,
    prefill_overhead_s=0.25,
    prefill_time_per_token_s=0.125,
    prefill_time_std_dev_s=0.0,
    inter_token_latency_s=0.0625,
    inter_token_latency_std_dev_s=0.0,
    time_factor_under_load=2.0,
)
"""Powers of two and no jitter: times are compared with ==."""


class Recorder:
    """A `ResponseSink`. `times` has the loop's time of each `on_data`."""

    def __init__(self) -> None:
        self.head: WireHead | None = None
        self.chunks: list[bytes] = []
        self.times: list[float] = []
        self.calls: list[str] = []
        self.error: UpstreamFault | None = None
        self.over = asyncio.Event()

    def on_head(self, head: WireHead) -> None:
        self.calls.append("head")
        self.head = head

    def on_data(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.chunks.append(data)
        self.times.append(asyncio.get_running_loop().time())

    def on_end(self) -> None:
        self.calls.append("end")
        self.over.set()

    def on_error(self, error: UpstreamFault) -> None:
        self.calls.append("error")
        self.error = error
        self.over.set()

    @property
    def status(self) -> int:
        assert self.head is not None
        return self.head.status

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The stream's data, decoded; `[DONE]` is the string."""
        frames = self.body.decode().removesuffix("\n\n").split("\n\n")
        data = [frame.removeprefix("data: ") for frame in frames]
        return [item if item == "[DONE]" else json.loads(item) for item in data]

    @property
    def text(self) -> str:
        deltas = [c["delta"] for e in self.events if e != "[DONE]" for c in e.get("choices", ())]
        return "".join(delta.get("content") or "" for delta in deltas)


def post(path: str, body: object, **headers: str) -> WireRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return WireRequest(
        method="POST",
        path=path,
        headers=(("Content-Type", "application/json"), *named),
        body=raw,
    )


@pytest.fixture
def exact() -> Callable[..., LlmdSettings]:
    """Settings with one exact model; arguments go over them."""

    def build(latency: Latency = EXACT, **changes: Any) -> LlmdSettings:
        defaults: dict[str, Any] = {"models": (ServedModel(name="m"),), "max_num_seqs": 5}
        return LlmdSettings(latency=latency, **(defaults | changes))

    return build


@pytest.fixture
def make_post() -> Callable[..., WireRequest]:
    return post


@pytest.fixture
def chat() -> Callable[..., WireRequest]:
    """A chat request; keywords are members of its body."""

    def build(content: str = "What is a setpoint?", **members: Any) -> WireRequest:
        messages = [{"role": "user", "content": content}]
        return post("/v1/chat/completions", {"model": "m", "messages": messages, **members})

    return build


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Send a request, or GET a path, and wait for the whole answer."""

    async def send(fake: FakeLlmd, request: WireRequest | str) -> Recorder:
        if isinstance(request, str):
            request = WireRequest(method="GET", path=request, headers=())
        sink = Recorder()
        fake.start(request, sink)
        await sink.over.wait()
        return sink

    return send


@pytest.fixture
def make_call() -> Callable[..., Call]:
    """A call as the endpoint picker sees it; keywords that are members of `Wants` go there."""

    def build(number: int = 1, **members: Any) -> Call:
        told = {
            name: members.pop(name) for name in list(members) if name in Wants.__struct_fields__
        }
        told.setdefault("request_id", f"r{number}")
        defaults: dict[str, Any] = {"model": "m", "target": "m", "priority": 0, "received_s": 0.0}
        defaults |= {"prompt_tokens": 4, "body_bytes": 10}
        return Call(id=number, wants=Wants(**told), **(defaults | members))

    return build
