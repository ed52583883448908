"""From a checked configuration to a listening gateway, and down again, in a process of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.edge import chat_body

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

    def banner(self) -> list[str]:
        """What follows `port`, up to the line to paste."""
        assert self.popen.stdout is not None
        return list(iter(self.popen.stdout.readline, "Try it:\n"))

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
    process = start(
        "bind_addr: 127.0.0.1:0\npolicies: policies.yaml\n"
        "pools: [{id: sim, engine: embedded, timeouts: {connect: 31m}}]\n"
        "models: [{name: assistant, pool: sim, upstream: sim-large}]\n"
    )
    port = process.port()
    until(lambda: bool(process.events("configuration_doubtful")))
    (doubtful,) = process.events("configuration_doubtful")
    assert "setpoint.yaml:3:57: pools[0].timeouts.connect: " in str(doubtful["problem"])
    assert f"  warning  {doubtful['problem']}\n" in process.banner()
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
