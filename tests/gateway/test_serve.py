"""From a checked configuration to a listening gateway, and down again, in a process of its own."""

import asyncio
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from adapters.dialect import EndpointState
from gateway import control, honour_watch, serve
from gateway.control import Control
from gateway.logs import JsonLines
from tests.fakes.edge import Edge, chat_body, eventually, request
from tests.fakes.scripted_engine import Call, ScriptedEngine, is_silent

MakeEdge = Callable[..., Awaitable[Edge]]
ROOT = Path(__file__).parents[2]
POLICIES = "rules: [{name: cap, then: {max_tokens: %s}}]\n"


class Process:
    """`setpoint serve` on a free port."""

    def __init__(self, folder: Path, config: str) -> None:
        (folder / "setpoint.yaml").write_text(config)
        env = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        self.started_s = time.monotonic()
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "-c", str(folder / "setpoint.yaml")],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        self.lines += []
        for line in self.popen.stderr:
            self.lines.append(line)

    def port(self) -> int:
        assert self.popen.stdout is not None
        first = self.popen.stdout.readline()
        assert "listens on" in first, (first, self.lines)
        return int(first.rpartition(":")[2])

    def events(self, name: str) -> list[dict[str, object]]:
        logged = [json.loads(line) for line in tuple(self.lines)]
        return [line for line in logged if line["event"] == name]

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)
        self._reader.join(10)
        for pipe in (self.popen.stdout, self.popen.stderr):
            assert pipe is not None
            pipe.close()


def until(holds: Callable[[], bool], patience_s: float = 10.0) -> None:
    end_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    made: list[Process] = []

    def begin(config: str) -> Process:
        made.append(Process(tmp_path, config))
        return made[-1]

    yield begin
    for process in made:
        process.stop()


def test_it_serves_reloads_and_stops_in_good_order(
    start: Callable[[str], Process], tmp_path: Path
) -> None:
    """One process for all of it: a start costs half a second."""
    (tmp_path / "policies.yaml").write_text(POLICIES % 1)
    process = start("bind_addr: 127.0.0.1:0\npolicies: policies.yaml\n")
    port = process.port()
    body = chat_body(model="assistant")

    def cap() -> str:
        return ask(port, "POST", "/v1/chat/completions", body).getheader("x-setpoint-decision", "")

    assert "-> 1" in cap()
    assert ask(port, "GET", "/readyz").status == 200

    (tmp_path / "policies.yaml").write_text(POLICIES % 2)  # the watcher sees it
    until(lambda: "-> 2" in cap(), 5)
    (tmp_path / "policies.yaml").write_text(POLICIES % "[")
    until(lambda: len(process.events("policies_refused")) == 1)
    assert "-> 2" in cap()
    assert "policies.yaml:" in str(process.events("policies_refused")[0]["problems"])
    process.popen.send_signal(signal.SIGHUP)
    until(lambda: len(process.events("policies_refused")) == 2)
    assert "-> 2" in cap()

    (tmp_path / "policies.yaml").write_text("")
    until(lambda: "cap" not in cap(), 5)
    running = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    asked = chat_body(model="assistant", stream=True, max_tokens=40)
    running.request("POST", "/v1/chat/completions", asked)
    stream = running.getresponse()
    process.popen.send_signal(signal.SIGTERM)
    until(lambda: bool(process.events("draining")))
    process.popen.send_signal(signal.SIGTERM)  # a launcher that passes it on twice: still in order
    assert b"[DONE]" in stream.read()
    running.close()
    assert process.popen.wait(10) == 0
    process._reader.join(10)
    (draining,) = process.events("draining")
    assert draining["running"] == 1
    assert {line["status"] for line in process.events("request")} == {200}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("bind_addr: 0.0.0.0:0", ["no token protects it"]),
        ("pools: [{id: a, engine: llamacp}]\nx: 1", ["pools[0]", "x"]),
        ("auth: {token: {file: none}}", ["the secret file cannot be read"]),
    ],
)
@pytest.mark.req("SEC-1")
def test_what_cannot_be_served_exits_2_with_every_problem(
    start: Callable[[str], Process], config: str, told: list[str]
) -> None:
    process = start(config)
    assert process.popen.wait(20) == 2
    process._reader.join(10)
    said = "".join(process.lines)
    assert "Traceback" not in said
    for words in told:
        assert words in said


def test_a_port_in_use_exits_1_and_says_so(start: Callable[[str], Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start(f"bind_addr: {address}")
        assert process.popen.wait(20) == 1
    process._reader.join(10)
    assert f"setpoint: {address} is already in use\n" in process.lines
    assert "Traceback" not in "".join(process.lines)


# -- in the test's own loop ---------------------------------------------------------------


async def test_a_taken_port_is_port_in_use(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    with pytest.raises(serve.PortInUse, match="already in use"):
        await serve.Listener.start(edge.gateway, "127.0.0.1", edge.port)


async def test_draining_lets_a_running_stream_end_and_refuses_what_is_new(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    go_on = asyncio.Event()

    async def waits(call: Call) -> None:
        await call.head()
        await call.piece("a")
        await go_on.wait()
        await call.piece("b")
        await call.finish()

    engine.plays(waits)
    edge = await make_edge()
    async with await edge.connect() as running, await edge.connect() as kept:
        kept.send(request("GET", "/livez"))
        await kept.answer()
        running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b'"a"')
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(edge.listener.drain())
            await asyncio.sleep(0.05)
            kept.send(request("POST", "/v1/chat/completions", chat_body()))
            refused = await kept.answer()
            assert (refused.status, refused.error["code"]) == (503, "draining")
            async with await edge.connect() as late:
                late.send(request("GET", "/readyz"))
                told = await late.answer()
            assert (told.status, told.json["status"]) == (503, "draining")
            assert not draining.done()
            go_on.set()
        assert b"[DONE]" in await running.ends()  # and its connection is not kept
        await edge.listener.close()


async def talks_for_ever(call: Call) -> None:
    await call.head()
    await call.piece("a")
    await asyncio.Event().wait()


@pytest.mark.req("OPS-6")
async def test_what_does_not_end_in_time_is_told_so_and_cut(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(talks_for_ever)
    edge = await make_edge("drain_timeout: 100ms")
    async with await edge.connect() as running:
        running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b'"a"')
        async with asyncio.timeout(10):
            await edge.listener.drain()
            await edge.listener.close()
        rest = await running.ends()
    assert b'"code":"draining"' in rest
    assert b"[DONE]" not in rest
    await eventually(engine.left.is_set)
    assert await edge.counted("setpoint_requests_total") == 1
    assert await edge.counted("setpoint_client_disconnects_total") == 0


async def test_cut_streams_end_as_http_says(make_edge: MakeEdge, engine: ScriptedEngine) -> None:
    engine.plays(talks_for_ever)
    edge = await make_edge("drain_timeout: 50ms")
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await eventually(lambda: bool(engine.asked))
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(line.answer())
            await asyncio.sleep(0.05)
            await edge.listener.drain()
        answer = answering.result()
        assert answer.complete
        assert answer.events[-1]["error"]["code"] == "draining"
        assert await line.ends() == b""


@pytest.mark.req("OPS-6")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", ["upload", "queue", "engine"])
async def test_who_waits_when_time_is_up_is_told_to_come_back(
    make_edge: MakeEdge,
    engine: ScriptedEngine,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    stream: bool,
) -> None:
    """Wherever the request was, as long as nothing of its answer was sent."""
    caplog.set_level(logging.INFO)
    engine.plays(is_silent, is_silent)
    edge = await make_edge("drain_timeout: 50ms", pool="max_inflight: 1, retries: 0")
    pool = edge.gateway.pools["main"]
    sent = request("POST", "/v1/chat/completions", chat_body(stream=stream))
    async with await edge.connect() as first, await edge.connect() as line:
        if stage == "queue":
            first.send(sent)
            await eventually(lambda: pool.signals().inflight == 1)
        line.send(sent[:-5] if stage == "upload" else sent)
        if stage == "queue":
            await eventually(lambda: pool.signals().queued == 1)
        await eventually(lambda: bool(edge.listener._connections.serving))
        if stage == "engine":
            await eventually(lambda: bool(engine.asked))
        async with asyncio.timeout(5):  # and the way down is not held up by it
            await edge.listener.drain()
            answer = await line.answer()
            await line.ends()
            await edge.listener.close()
    assert (answer.status, answer.error["code"]) == (503, "draining")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["connection"] == "close"
    told = 2 if stage == "queue" else 1
    logged = [r.fields for r in caplog.records if r.getMessage() == "request"]
    assert [(line["status"], line["error"]) for line in logged] == [(503, "draining")] * told
    assert await edge.counted("setpoint_requests_total", status="503") == told
    assert await edge.counted("setpoint_client_disconnects_total") == 0
    assert pool.signals().inflight == 0


async def test_what_is_logged_of_a_duration_is_a_number_of_seconds(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = await make_edge("drain_timeout: 2s\nlimits: {header_timeout: 50ms}")
    async with await edge.connect() as line:
        line.send(b"GET / HTTP/1.1\r\n")
        await line.ends()
    await edge.listener.drain()
    form = JsonLines(lambda text: text)
    logged = {r.getMessage(): json.loads(form.format(r)) for r in caplog.records}
    assert logged["draining"]["limit_s"] == 2.0
    assert logged["slow_header"]["seconds"] == 0.05


async def test_probes_and_reloads_outlive_their_bugs_until_the_gateway_stops(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(serve, "RESTART_S", 0.01)
    (tmp_path / "policies.yaml").write_text(POLICIES % 1)
    edge = await make_edge("policies: policies.yaml", pool="probe_interval: 10ms")
    gateway = edge.gateway
    pool = gateway.pools["main"]
    failed = {"probe": 0, "reload": 0}

    def fails_once(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def tried(*given: object) -> object:
            failed[name] += 1
            if failed[name] == 1:
                raise RuntimeError("out of luck")
            return work(*given)

        return tried

    monkeypatch.setattr(pool, "learn", fails_once("probe", pool.learn))
    monkeypatch.setattr(gateway, "reload_policies", fails_once("reload", gateway.reload_policies))
    stop, hangup = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve._until(stop, hangup, gateway, Control(gateway)))
        pool.endpoints[0].state = EndpointState()
        await eventually(lambda: pool.ready)
        (tmp_path / "policies.yaml").write_text(POLICIES % 2)
        await eventually(lambda: failed["reload"] > 0)
        hangup.set()
        await eventually(lambda: gateway.policy.rules[0].then.max_tokens == 2)
        stop.set()
    assert min(failed.values()) > 1


@pytest.mark.req("INT-3")
async def test_the_loop_and_the_watch_over_llmd_run_as_long_as_the_gateway(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "RESTART_S", 0.01)
    monkeypatch.setattr(control, "TICK_S", 0.01)
    monkeypatch.setattr(honour_watch, "LOOK_S", 0.01)
    edge = await make_edge()
    gateway = edge.gateway
    worked = {"tick": 0, "look": 0}

    def breaks_once(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def tried(*given: object) -> object:
            worked[name] += 1
            if worked[name] == 1:
                raise RuntimeError("out of luck")
            return real(*given)

        return tried

    monkeypatch.setattr(gateway.loop, "tick", breaks_once("tick", gateway.loop.tick))
    watch = gateway.honour_watch
    monkeypatch.setattr(watch, "tell", breaks_once("look", watch.tell))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve._until(stop, asyncio.Event(), gateway, Control(gateway)))
        await eventually(lambda: min(worked.values()) > 2)
        assert (await edge.chat()).status == 200
        stop.set()
    failed = [r.fields["task"] for r in caplog.records if r.msg == "background_task_failed"]
    assert sorted(failed) == ["control", "honour"]


async def test_background_work_that_breaks_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "RESTART_S", 0.01)
    tries = [0]

    async def breaks_twice() -> None:
        tries[0] += 1
        if tries[0] < 3:
            raise RuntimeError("out of luck")

    await serve._supervised("work", breaks_twice)
    assert tries == [3]
    assert len([r for r in caplog.records if r.exc_info]) == 2
