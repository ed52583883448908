"""`setpoint serve --workers 2`, as it is started: two processes and a hub, in front of a scripted engine."""

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contracts.problems import ProblemsFound
from gateway.configuration import load
from gateway.port import PortInUse
from gateway.workers.supervisor import supervise
from tests.fakes.scripted_engine import Call, ScriptedEngine
from tests.support.exposition import Exposition
from tests.support.processes import eventually
from tests.support.setpoint_server import SetpointServer
from tests.support.wire import Answer, call, get

OPERATOR, WEB = "op-7d1f0c2b9a", "web-51ce9e0d44"
LIMIT, BUDGET = 3, 12
CONFIG = """
bind_addr: 127.0.0.1:0
drain_timeout: 5s
auth:
  token: {OPERATOR}
  keys:
    - {name: web, token: {WEB}}
    - {name: thrifty, token: thrifty-18f0a1, budget: [{requests: {BUDGET}, per: 1h}]}
pools:
  - {id: local, engine: openai, endpoints: [{URL}], max_inflight: {LIMIT}, probe_interval: 1s}
models:
  - {name: served, pool: local}
"""


class Engine:
    """A scripted engine on a thread of its own. While it is `held`, answers wait for `let_go`."""

    def __init__(self) -> None:
        self.running = self.most = self.begun = 0
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.scripted = ScriptedEngine()
        self.scripted.plays(self._play)
        self._open = asyncio.Event()
        self._open.set()
        asyncio.run_coroutine_threadsafe(self.scripted.start(), self.loop).result(10)

    async def _play(self, call: Call) -> None:
        self.running += 1
        self.begun += 1
        self.most = max(self.most, self.running)
        try:
            await self._open.wait()
            await call.head()
            await call.piece("Hello")
            await call.finish()
        finally:
            self.running -= 1

    def hold(self) -> None:
        self.most = self.begun = 0
        self.loop.call_soon_threadsafe(self._open.clear)

    def let_go(self) -> None:
        self.loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.scripted.aclose(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Scene:
    """A gateway of two workers, and its engine."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine()
        text = CONFIG
        for name, value in {
            "OPERATOR": OPERATOR,
            "WEB": WEB,
            "BUDGET": BUDGET,
            "LIMIT": LIMIT,
            "URL": self.engine.scripted.url,
        }.items():
            text = text.replace(f"{{{name}}}", str(value))
        file = folder / "setpoint.yaml"
        file.write_text(text)
        flags = ("serve", "--config", str(file), "--workers", "2", "--no-self-test")
        self.server = SetpointServer("gateway", folder, *flags).start()
        self.clients = ThreadPoolExecutor(40)

    def ask(self, method: str, path: str, body: object = None, token: str = WEB) -> Answer:
        """On a connection of its own, and so at any worker."""
        headers = {"authorization": f"Bearer {token}"}
        return call(method, f"{self.server.url}{path}", body, headers=headers, timeout_s=20.0)

    def chat(self, token: str = WEB) -> Answer:
        body = {"model": "served", "messages": [{"role": "user", "content": "Hi"}]}
        return self.ask("POST", "/v1/chat/completions", body, token)

    def metric(self, name: str, **labels: str) -> float:
        return Exposition(self.ask("GET", "/metrics").body.decode()).total(name, **labels)

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.server.stderr.splitlines()]
        return [line for line in lines if line["event"] == event]

    def workers(self) -> dict[str, int]:
        """Their process ids, by name."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                parts = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == self.pid and b"gateway.workers.process" in parts:
                found[parts[parts.index(b"gateway.workers.process") + 1].decode()] = int(
                    folder.name
                )
        return found

    @property
    def pid(self) -> int:
        assert self.server._process is not None
        return self.server._process.pid

    def close(self) -> None:
        self.engine.let_go()
        self.clients.shutdown(cancel_futures=True)
        self.server.stop()
        self.engine.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("workers"))
    yield made
    made.close()


def both_asked(scene: Scene, ask: Callable[[], object]) -> None:
    """Ask until each worker was asked; which one a connection comes to is the system's choice."""
    for _ in range(64):
        ask()
        if {line["worker"] for line in scene.log("request")} == {0, 1}:
            return
    raise AssertionError("one worker is never asked")


@pytest.mark.req("OPS-9")
def test_one_banner_is_shown_and_both_workers_answer(scene: Scene) -> None:
    assert scene.server.stdout.count("listens on") == 1
    both_asked(scene, lambda: scene.chat())
    eventually(
        lambda: json.loads(scene.ask("GET", "/v1/intents").body)["data"][0]["requests_per_s"] > 0,
        "the loop hears of them",
    )


@pytest.mark.req("OPS-2")
def test_one_page_of_metrics_adds_up(scene: Scene) -> None:
    before = scene.metric("setpoint_requests_total", status="200")
    answers = list(scene.clients.map(lambda _: scene.chat(), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert scene.metric("setpoint_requests_total", status="200") - before == 20
    assert scene.metric("setpoint_workers") == 2
    assert scene.metric("setpoint_pool_limit_requests") == LIMIT


@pytest.mark.req("OPS-9")
def test_a_limit_is_never_passed_and_is_used_to_the_last_place(scene: Scene) -> None:
    scene.engine.hold()
    asking = [scene.clients.submit(scene.chat) for _ in range(24)]
    eventually(lambda: scene.engine.running == LIMIT, "all places are used")
    eventually(
        lambda: json.loads(scene.ask("GET", "/v1/pools").body)["data"][0]["queued"] == 24 - LIMIT,
        "the others wait, and every worker says so",
    )
    scene.engine.let_go()
    assert {future.result(20).status for future in asking} == {200}
    assert scene.engine.most == LIMIT


@pytest.mark.req("ADM-6", "OPS-9")
def test_a_budget_admits_what_it_says_whichever_worker_is_asked(scene: Scene) -> None:
    def ask(_: object = None) -> int:
        return scene.chat("thrifty-18f0a1").status

    statuses = list(scene.clients.map(ask, range(3 * BUDGET)))

    def is_used_up() -> bool:
        if statuses.count(200) < BUDGET:
            statuses.append(ask())
        return statuses.count(200) >= BUDGET

    # What is on its way from one worker to another is missing at both: for a moment, and not for good.
    eventually(is_used_up, "the budget is used up")
    statuses += [ask() for _ in range(4)]
    assert statuses.count(200) == BUDGET
    assert statuses.count(429) == len(statuses) - BUDGET


@pytest.mark.req("RUN-4")
def test_a_task_is_known_at_every_worker(scene: Scene) -> None:
    scene.engine.hold()
    body = {"model": "served", "messages": [{"role": "user", "content": "Hi"}]}
    task = json.loads(scene.ask("POST", "/v1/tasks", body).body)["task_id"]
    for _ in range(8):
        assert scene.ask("GET", f"/v1/tasks/{task}").status == 200
        assert [t["id"] for t in json.loads(scene.ask("GET", "/v1/tasks").body)["data"]] == [task]
        assert scene.ask("GET", "/v1/tasks/task_nobodys").status == 404
    for _ in range(8):
        cancelled = json.loads(scene.ask("POST", f"/v1/tasks/{task}/cancel").body)
        assert cancelled["state"] == "cancelled"
    for _ in range(8):
        events = scene.ask("GET", f"/v1/tasks/{task}/stream").body
        assert b"event: error" in events
    scene.engine.let_go()


@pytest.mark.req("ADM-1")
def test_an_idempotency_key_is_one_task_at_every_worker(scene: Scene) -> None:
    body = {"model": "served", "messages": [{"role": "user", "content": "Hi"}]}

    def submit(_: int) -> str:
        headers = {"authorization": f"Bearer {WEB}", "idempotency-key": "k1"}
        answer = call("POST", f"{scene.server.url}/v1/tasks", body, headers=headers)
        return str(json.loads(answer.body)["task_id"])

    assert len(set(scene.clients.map(submit, range(10)))) == 1


@pytest.mark.req("ENG-3")
def test_a_pool_is_out_of_service_at_every_worker_and_comes_back(scene: Scene) -> None:
    drained = scene.ask("POST", "/v1/pools/local/drain?wait=10s", token=OPERATOR)
    assert json.loads(drained.body)["state"] == "drained"
    assert {scene.chat().status for _ in range(8)} == {503}
    back = scene.ask("POST", "/v1/pools/local/reload", token=OPERATOR)
    assert json.loads(back.body)["state"] == "serving"
    eventually(lambda: scene.chat().status == 200, "it serves")
    eventually(lambda: {scene.chat().status for _ in range(8)} == {200}, "at every worker")


@pytest.mark.req("SEC-2")
def test_what_is_about_the_whole_asks_for_the_same_rights(scene: Scene) -> None:
    for _ in range(4):
        assert get(f"{scene.server.url}/metrics").status == 401
        assert scene.ask("POST", "/admin/reload").status == 403
    assert scene.ask("POST", "/admin/reload", token=OPERATOR).status == 200


@pytest.mark.req("OPS-9")
def test_a_worker_that_is_killed_loses_its_own_requests_only_and_comes_back(scene: Scene) -> None:
    before = scene.metric("setpoint_requests_total")
    scene.engine.hold()
    # So many that the system gives more than the limit to each worker: of 16 one had too few, once in 400.
    asking = [scene.clients.submit(_status, scene) for _ in range(32)]
    eventually(lambda: scene.engine.running == LIMIT, "all places are used")
    killed = scene.workers()["worker-0"]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: scene.log("process_died"), "its death is told")
    eventually(lambda: scene.engine.running == LIMIT, "its places go to the other")
    scene.engine.let_go()
    statuses = [future.result(20) for future in asking]
    assert set(statuses) <= {200, None}
    assert statuses.count(200) > 0
    assert scene.engine.most <= LIMIT
    eventually(lambda: scene.workers().get("worker-0") not in (None, killed), "it comes back")
    eventually(lambda: scene.metric("setpoint_workers") == 2, "and says so")
    assert scene.metric("setpoint_requests_total") >= before
    assert scene.metric("setpoint_process_restarts_total") == 1


def _status(scene: Scene) -> int | None:
    """None: the connection broke."""
    try:
        return scene.chat().status
    except OSError:
        return None


@pytest.mark.req("OPS-9")
def test_without_the_hub_workers_serve_and_a_new_one_goes_on(scene: Scene) -> None:
    os.kill(scene.workers()["hub"], signal.SIGKILL)
    assert {scene.chat().status for _ in range(4)} == {200}
    eventually(lambda: scene.ask("GET", "/v1/pools").status == 200, "another hub answers")
    eventually(lambda: scene.metric("setpoint_workers") == 2, "and knows all workers")
    scene.engine.hold()
    asking = [scene.clients.submit(scene.chat) for _ in range(12)]
    eventually(lambda: scene.engine.running == LIMIT, "all places are used")
    scene.engine.let_go()
    assert {future.result(20).status for future in asking} == {200}
    assert scene.engine.most == LIMIT


@pytest.mark.req("OPS-6")
def test_a_signal_drains_all_of_them(scene: Scene) -> None:
    scene.engine.hold()
    asking = [scene.clients.submit(scene.chat) for _ in range(LIMIT)]
    eventually(lambda: scene.engine.running == LIMIT, "they run")
    os.kill(scene.pid, signal.SIGTERM)
    eventually(lambda: len(scene.log("draining")) == 2, "both drain")
    scene.engine.let_go()
    assert {future.result(20).status for future in asking} == {200}
    assert scene.server.stop() == 0
    assert not scene.workers()


@pytest.mark.req("SEC-4")
async def test_what_is_wrong_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    (tmp_path / "policies.yaml").write_text("intents: []")
    file = tmp_path / "setpoint.yaml"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        file.write_text(f"bind_addr: 127.0.0.1:{port}\npolicies: policies.yaml")
        with pytest.raises(PortInUse, match="already in use"):
            await supervise(load(file, env={}), 2)
    (tmp_path / "policies.yaml").write_text("rules: [{name: a, when: nothing.here, then: {}}]")
    with pytest.raises(ProblemsFound):
        await supervise(load(file, env={}), 2)
    (tmp_path / "policies.yaml").write_text("intents: []")
    file.write_text("bind_addr: 127.0.0.1:0\npolicies: policies.yaml")
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(OSError, match="set TMPDIR"):
        await supervise(load(file, env={}), 2)
    assert not list(deep.iterdir())


async def test_a_process_that_cannot_begin_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "false")
    (tmp_path / "setpoint.yaml").write_text("bind_addr: 127.0.0.1:0")
    assert await supervise(load(tmp_path / "setpoint.yaml", env={}), 2) == 1
