"""The loop between real processes: a promise breaks under load, an action is taken, and it is verified."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.processes import eventually
from tests.support.setpoint_server import Gateway, Llmd
from tests.support.wire import get, post

pytestmark = pytest.mark.req("INT-3", "INT-4", "INT-5", "INT-6", "INT-7", "OPS-2", "OPS-6")
CLIENTS = 8
"""Twice the places of the pool: with answers of 0.6 s everybody waits as long for a first token."""
CONFIG = """\
pools: [{{id: cluster, engine: llmd, endpoint: '{url}', max_inflight: 4}}]
models:
  - {{name: big, pool: cluster, upstream: sim-large, quality: 0.9}}
  - {{name: small, pool: cluster, upstream: sim-small, quality: 0.7}}
policies: promises.yaml
logging: {{decisions: decided.jsonl}}
"""
POLICIES = """\
intents:
  - name: interactive
    match: {default: true}
    objectives: {ttft_p95: 500ms}
    priority: 10
    late: serve
    ladder: [{switch_model: small}]
"""
LAW = {
    "latency_calculator": "per-token",
    "prefill_overhead_s": 0.01,
    "prefill_time_per_token_s": 0.0,
    "prefill_time_std_dev_s": 0.0,
    "inter_token_latency_std_dev_s": 0.0,
    "time_factor_under_load": 1.0,
}
BODY = {
    "model": "big",
    "messages": [{"role": "user", "content": "Hello."}],
    "max_tokens": 60,
    "ignore_eos": True,
}


class Load:
    """Clients that ask again as soon as they have been answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._url = f"{gateway.v1}/chat/completions"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        self.statuses: list[int] = []
        self.models: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *how: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        while not self._stop.is_set():
            answer = post(self._url, BODY)
            self.statuses.append(answer.status)
            self.models.append(answer.headers.get("x-setpoint-model", ""))


class Listener:
    """Whoever listens for decisions, as they come."""

    def __init__(self, gateway: Gateway) -> None:
        parts = urlsplit(gateway.url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._connection.request("GET", "/v1/decisions", headers={"Accept": "text/event-stream"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self.told: list[dict[str, Any]] = []
        self.ended = threading.Event()
        """The stream has ended as HTTP says it should."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._response:
            if line.startswith(b"data: "):
                self.told.append(json.loads(line.removeprefix(b"data: ")))
        self.ended.set()

    def kinds(self) -> list[str]:
        return [decision["kind"] for decision in self.told]

    def close(self) -> None:
        self._connection.close()
        self._thread.join(10)


@pytest.fixture
def gateway(
    make_llmd: Callable[..., Llmd], make_gateway: Callable[[str], Gateway], tmp_path: Path
) -> Gateway:
    """In front of a large model of 10 ms a token and a small one of 1 ms."""
    llmd = make_llmd()
    llmd.configure(
        models=[
            {"name": "sim-large", "latency": {**LAW, "inter_token_latency_s": 0.01}},
            {"name": "sim-small", "latency": {**LAW, "inter_token_latency_s": 0.001}},
        ]
    )
    (tmp_path / "promises.yaml").write_text(POLICIES)
    return make_gateway(CONFIG.format(url=llmd.url))


@pytest.fixture
def listener(gateway: Gateway) -> Iterator[Listener]:
    listener = Listener(gateway)
    yield listener
    listener.close()


def test_a_promise_that_breaks_is_mended_and_the_mending_is_verified_and_told(
    gateway: Gateway, listener: Listener, tmp_path: Path
) -> None:
    with Load(gateway) as load:
        eventually(lambda: "verdict" in listener.kinds(), "the action is judged")
        shown = get(f"{gateway.url}/v1/intents").json()["data"][0]
        metrics = gateway.metrics()
    assert set(load.statuses) == {200}
    assert {"big", "small"} <= set(load.models), "before and after"

    climb, verdict = listener.told[:2]
    assert climb["words"].startswith("switched model big -> small for interactive: ttft_p95 ")
    assert "expect ttft_p95 < 500 ms" in climb["words"]
    assert verdict["verdict"] == "confirmed", verdict
    assert verdict["action"] == climb["action"]
    assert [decision["seq"] for decision in listener.told[:2]] == [1, 2]

    assert shown["rung"] == 1
    assert shown["actions"][0]["verdict"] == "confirmed"
    assert metrics.total("setpoint_verdicts_total", verdict="confirmed", rung="switch_model") == 1
    assert metrics.total("setpoint_intent_rung", intent="interactive") == 1
    assert metrics.total("setpoint_loop_tick_seconds_count") > 4

    assert gateway.stop() == 0
    assert listener.ended.wait(10), "the stream of decisions ends before the gateway does"
    assert gateway.log("draining")
    assert not [line for line in gateway.log() if line["level"] == "error"]
    lines = [json.loads(line) for line in (tmp_path / "decided.jsonl").read_text().splitlines()]
    assert [line["words"] for line in lines] == [d["words"] for d in listener.told]
    assert {line["event"] for line in lines} == {"decision"}
