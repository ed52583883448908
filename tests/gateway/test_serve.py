"""From a checked configuration to a listening gateway, and down again, in a process of its own."""

import asyncio
import contextlib
import http.client
import json
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

from gateway import serve
from tests.fakes.edge import Edge, chat_body, eventually, request
from tests.fakes.scripted_engine import Call, ScriptedEngine

MakeEdge = Callable[..., Awaitable[Edge]]
ROOT = Path(__file__).parents[2]
POLICIES = "rules: [{name: cap, then: {max_tokens: %s}}]\n"


class Process:
    """`setpoint serve` on a free port."""

    def __init__(self, folder: Path, config: str) -> None:
        (folder / "setpoint.yaml").write_text(config)
        env = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
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
    answer.body = answer.read()  # type: ignore[attr-defined]
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

    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(10) == 0
    process._reader.join(10)
    assert process.events("draining")
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
            with pytest.raises(ConnectionRefusedError):
                await edge.connect()
            assert not draining.done()
            go_on.set()
        await edge.listener.close()
        assert b"[DONE]" in await running.ends()


async def test_what_does_not_end_in_time_is_told_so_and_cut(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def endless(call: Call) -> None:
        await call.head()
        await call.piece("a")
        await asyncio.Event().wait()

    engine.plays(endless)
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
    assert await edge.counted("setpoint_requests_total", status="503") == 1
    assert await edge.counted("setpoint_client_disconnects_total") == 0


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


@pytest.mark.parametrize("swap", ["replaced", "mounted"])
async def test_a_policy_file_is_watched_however_it_is_replaced(
    make_edge: MakeEdge, tmp_path: Path, swap: str
) -> None:
    """Editors write a new file and rename it; Kubernetes moves a link beside it."""
    versions = [tmp_path / "..1", tmp_path / "..2"]
    for number, folder in enumerate(versions, 1):
        folder.mkdir()
        (folder / "policies.yaml").write_text(POLICIES % number)
    if swap == "mounted":
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "policies.yaml").symlink_to("..data/policies.yaml")
    else:
        (tmp_path / "policies.yaml").write_text(POLICIES % 1)
    edge = await make_edge("policies: policies.yaml")
    before = edge.gateway.policy.version
    watching = asyncio.get_running_loop().create_task(serve._watch_policies(edge.gateway))
    await asyncio.sleep(0.2)
    if swap == "mounted":
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
    else:
        (versions[1] / "policies.yaml").rename(tmp_path / "policies.yaml")
    await eventually(lambda: edge.gateway.policy.version != before)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
