"""SEC-3: a secret of its own in every place that takes one, and not one of them anywhere that anybody looks.

Three gateways, which between them have a secret in every field of the configuration that takes one and in every
variable that one is looked for in, once as it is, once from a file, once from the environment. Behind them a
backend that quotes the credentials it was sent; before them clients that say their own in every place they can.
"""

import base64
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from contracts.config import Config
from gateway.cli import REFUSED, main
from gateway.configuration.providers import KEYS
from gateway.openapi.description import document
from tests.support.planted import secret_fields, traces
from tests.support.processes import eventually
from tests.support.setpoint_server import ROOT, Gateway
from tests.support.talkative_upstream import TalkativeUpstream
from tests.support.wire import Answer, call, free_port, post

pytestmark = pytest.mark.req("SEC-3")
NEVER_PATHS = {"/v1/tasks/{id}/stream"}
"""Read apart: it does not end by itself."""


_numbers = itertools.count(1000)


def secret() -> str:
    """One that every notation has to spell in its own way, with a beginning and an end that are its own."""
    number = next(_numbers)
    return f'zq{number}head"\\/%+~hush{number}tail'


class Stage:
    """One gateway with what was planted in it, and all that could be got out of it."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.upstream = upstream
        self.planted: dict[str, str] = {}
        """Secrets by where they are."""
        self.env: dict[str, str] = {}
        self.seen: dict[str, bytes] = {}
        """What came out, by where."""
        self.gateway: Gateway | None = None

    # -- planting -----------------------------------------------------------------------

    def plain(self, field: str, text: str = "{}") -> str:
        """In the file itself, as a YAML scalar. `text` is what is around it."""
        return json.dumps(text.format(self._new(field)))

    def filed(self, field: str, text: str = "{}") -> str:
        path = self.folder / f"{len(self.planted)}.secret"
        path.write_text(text.format(self._new(field)))
        return f"{{file: {path.name}}}"

    def from_env(self, field: str, text: str = "{}") -> str:
        name = f"PLANTED_{len(self.planted)}"
        self.env[name] = text.format(self._new(field))
        return f'"${{{name}}}"'

    def _new(self, field: str) -> str:
        self.planted[field] = secret()
        if field.startswith("records"):  # in a URL
            return quote(self.planted[field], safe="")
        return self.planted[field]

    # -- looking ------------------------------------------------------------------------

    def start(self, config: str, **env: str) -> Gateway:
        self.env |= env
        logs = "logging: {level: debug, decisions: decisions.jsonl}\n"
        self.gateway = Gateway(self.folder, logs + config, env=self.env, self_test=True)
        return self.gateway.start()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        assert self.gateway is not None
        answer = call(method, f"{self.gateway.url}{path}", body, headers=headers)
        number = len(self.seen)
        said = json.dumps(answer.headers).encode() + answer.body
        self.seen[f"{number}: {method} {path} -> {answer.status}"] = said
        return answer

    def command(self, *argv: str) -> "subprocess.CompletedProcess[bytes]":
        assert self.gateway is not None
        command = [sys.executable, "-m", "gateway.cli", *argv]
        done = subprocess.run(
            [*command, "--config", str(self.gateway.config_file)],
            capture_output=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, **self.env},
            timeout=120,
        )
        self.seen[f"setpoint {' '.join(argv)}"] = done.stdout + done.stderr
        return done

    def files(self) -> None:
        """All that the gateway has written."""
        for file in self.folder.iterdir():
            if file.suffix not in (".yaml", ".secret", ".json"):
                self.seen[f"file {file.name}"] = file.read_bytes()

    def check(self) -> None:
        """No secret in anything that was seen."""
        found = [
            f"{field} in {where}: ...{said[max(0, at - 120) : at + 60]!r}"
            for where, said in self.seen.items()
            for field, planted in self.planted.items()
            for trace in traces(planted)
            if (at := said.find(trace)) >= 0
        ]
        assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with TalkativeUpstream() as running:
        yield running.url


@pytest.fixture
def stage(tmp_path: Path, upstream: str) -> Iterator[Stage]:
    made = Stage(tmp_path, upstream)
    yield made
    if made.gateway is not None:
        made.gateway.stop()


def chat(text: str, **members: object) -> dict[str, object]:
    return {"model": "talker", "messages": [{"role": "user", "content": text}], **members}


def exercise(stage: Stage, operator: str, token: str) -> None:
    """Every door, with every way to be refused; the caller says its token wherever it can."""
    stage.planted["what a stranger presents"] = stranger = secret()
    stage.planted["a cookie"] = cookie = secret()
    mine = {"authorization": f"Bearer {token}", "cookie": cookie, "x-mine": token}
    for headers in (
        {},
        {"authorization": f"Bearer {stranger}"},
        {"authorization": stranger},
        {"x-api-key": stranger},
        {"authorization": f"Bearer {stranger}", "proxy-authorization": f"Basic {stranger}"},
    ):
        stage.ask("POST", "/v1/chat/completions", chat("hello"), **headers)
    said = f"my token is {token}"
    for text in (said, f"refuse, {said}", f"quote, {said}", f"break, {said}"):
        for stream in (False, True):
            stage.ask("POST", "/v1/chat/completions", chat(text, stream=stream, user=token), **mine)
    assert any(b"you sent" in told and b"Bearer ***" in told for told in stage.seen.values())
    for body in (
        chat(said, temperature=token),
        chat(said, model=token),
        chat(said, model=f"{token}\0"),
        f'{{"model": "talker", "messages": "{token}'.encode(),
        json.dumps(token).encode(),
    ):
        stage.ask("POST", "/v1/chat/completions", body, **mine)
    for path, sent in (
        ("completions", {"model": "talker", "prompt": said}),
        ("embeddings", {"model": "talker", "input": said}),
        ("messages", chat(said, max_tokens=4)),
        ("messages/count_tokens", chat(said)),
    ):
        stage.ask("POST", f"/v1/{path}", sent, **mine)
    stage.ask("GET", f"/v1/{quote(token, safe='')}", **mine)
    stage.ask("GET", f"/v1/models/{quote(token, safe='')}", **mine)
    for text in (said, f"refuse, {said}"):
        submitted = stage.ask("POST", "/v1/tasks", chat(text), **mine)
        if submitted.status == 202:
            task = submitted.json()["task_id"]
            stage.ask("GET", f"/v1/tasks/{task}/stream", **mine)
            stage.ask("GET", f"/v1/tasks/{task}", **mine)
    as_operator = {"authorization": f"Bearer {operator}"}
    paths: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(document())["paths"]
    for path, methods in paths.items():
        for method in methods.keys() & {"get", "post"}:
            if path not in NEVER_PATHS and not (method == "post" and path.startswith("/v1/pools")):
                filled = path.replace("{id}", "talker")
                stage.ask(method.upper(), filled, None, **as_operator)
    stage.ask("POST", "/admin/reload", None, **mine)


def inspect(stage: Stage) -> None:
    """What the process says of itself, and what the commands say."""
    gateway = stage.gateway
    assert gateway is not None
    assert gateway._process is not None
    stage.seen["process list"] = Path(f"/proc/{gateway._process.pid}/cmdline").read_bytes()
    (stage.folder / "request.json").write_text(json.dumps(chat("hello")))
    assert stage.command("check").returncode == 0
    stage.command("explain", str(stage.folder / "request.json"))
    gateway.stop()
    stage.seen["banner"] = gateway.stdout.encode()
    assert "listens on" in gateway.stdout
    stage.files()


def records(stage: Stage, replays: int = 3) -> None:
    """What the records say, in the database and out of it."""
    assert stage.command("records", "ls").returncode == 0
    lines = stage.command("records", "export").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert any(row["body"] is not None and "***" in json.dumps(row["body"]) for row in rows)
    for row in rows[:replays]:
        stage.command("records", "show", row["execution_id"])
        stage.command("replay", row["execution_id"])


@pytest.fixture(scope="module")
def fields() -> set[str]:
    return set()


def test_with_pools_and_records_in_sqlite(stage: Stage, fields: set[str]) -> None:
    config = f"""\
auth:
  token: {stage.from_env("auth.token")}
  keys: [{{name: web, token: {stage.filed("auth.keys[].token")}}}]
pools: [{{id: up, engine: openai, endpoint: {stage.upstream}, self_test: true, api_key: {stage.plain("pools[].api_key")}}}]
models: [{{name: talker, pool: up}}]
records: {{url: 'sqlite:///a.db', bodies: true}}
telemetry: {{otlp: 'http://127.0.0.1:{free_port()}', headers: {{x-key: {stage.plain("telemetry.headers{}")}}}}}
"""
    gateway = stage.start(config)
    exercise(stage, stage.planted["auth.token"], stage.planted["auth.keys[].token"])
    gateway.logged("telemetry_not_sent")
    leaked = {"authorization": f"Bearer {stage.planted['auth.keys[].token']}"}
    # What a model says is its client's: this one answer is not looked at, its record is.
    assert post(f"{gateway.v1}/chat/completions", chat("leak"), headers=leaked).status == 200
    inspect(stage)
    records(stage)
    assert b"Bearer ***" in stage.seen["setpoint records export"]
    stage.check()
    fields.update(stage.planted)


def test_with_a_database_that_is_down(stage: Stage, fields: set[str]) -> None:
    database = f"postgresql://setpoint:{{}}@127.0.0.1:{free_port()}/setpoint"
    config = f"""\
auth:
  token: {stage.plain("auth.token")}
  keys: [{{name: web, token: {stage.from_env("auth.keys[].token")}}}]
adapter: {{engine: openai, endpoint: {stage.upstream}, api_key: {stage.filed("adapter.api_key")}}}
models: [{{name: talker, pool: default, simulate: {{inter_token_latency: 10ms}}}}]
records: {{url: {stage.filed("records.url", database)}, bodies: true}}
tasks: {{durable: true}}
"""
    gateway = stage.start(config)
    exercise(stage, stage.planted["auth.token"], stage.planted["auth.keys[].token"])
    spill = stage.folder / "setpoint-records.spill.jsonl"
    eventually(lambda: spill.exists() and spill.stat().st_size, "records are spilled")
    gateway.logged("records_down")
    inspect(stage)
    executions = [json.loads(line)["execution"] for line in spill.read_bytes().splitlines()]
    bodies = b"".join(
        base64.b64decode(row[name] or "")
        for row in executions
        for name in ("body", "answer", "native")
    )
    assert b"my token is ***" in bodies
    stage.seen["bodies that were spilled"] = bodies
    assert stage.command("records", "ls").returncode == 1
    assert stage.command("replay", "req_1").returncode == 2
    simulated = stage.command("simulate", "--records")
    assert simulated.returncode == 2
    assert b"postgresql://setpoint:***@127.0.0.1" in simulated.stderr
    stage.check()
    fields.update(stage.planted)


def test_with_providers_from_the_environment(stage: Stage, fields: set[str]) -> None:
    for key, url in KEYS.values():
        stage.planted[key] = stage.env[key] = secret()
        stage.env[url] = stage.upstream
    database = f"postgres://setpoint:{{}}@127.0.0.1:{free_port()}/setpoint"
    config = f"""\
auth: {{token: {stage.filed("auth.token")}}}
records: {stage.plain("records", database)}
models:
  - {{name: talker, pool: openai}}
  - {{name: opus, pool: anthropic}}
  - {{name: flash, pool: gemini}}
"""
    stage.start(config)
    operator = stage.planted["auth.token"]
    exercise(stage, operator, operator)
    for model in ("opus", "flash"):
        refused = stage.ask(
            "POST",
            "/v1/chat/completions",
            chat("hello", model=model),
            authorization=f"Bearer {operator}",
        )
        assert refused.status == 502
    inspect(stage)
    stage.check()
    fields.update(stage.planted)


def test_every_place_that_takes_a_secret_had_one(fields: set[str]) -> None:
    if not fields:
        pytest.skip("needs the tests before it")
    keys = {key for key, _ in KEYS.values()}
    assert secret_fields(Config) | keys | {"records"} <= fields


@pytest.mark.parametrize(
    "config",
    [
        "auth: {{token: [{0}]}}",
        "auth: {{tokn: {0}}}",
        "auth: {{token: {{file: {0}}}}}",
        "auth: {{token: a, keys: [{{name: a, token: {0}}}, {{name: b, token: {0}}}]}}",
        "pools: [{{id: a, engine: openai, endpoint: 'http://me:{1}@127.0.0.1:1', api_key: {0}}}]",
        "pools: [{{id: a, engine: openai, endpoint: {0}, api_key: {0}}}]",
        "pools: [{{id: a, engine: llmd, endpoint: 'http://a:1', metrics: 'http://me:{1}@a:1/'}}]",
        "records: {0}",
        "records: 'mysql://me:{1}@127.0.0.1/a'",
        "records: 'postgresql://me:{1}@127.0.0.1/a/b'",
        "records: 'postgresql://127.0.0.1/a?password={1}'",
        "records: {{url: 'sqlite:///a.db', password: {0}}}",
        "- {0}",
    ],
)
@pytest.mark.parametrize("from_env", [False, True])
def test_a_secret_in_the_wrong_place_is_not_quoted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str,
    from_env: bool,
) -> None:
    monkeypatch.setenv("PLANTED", "zqhush-hush")
    held = ('"${PLANTED}"', "${PLANTED}") if from_env else ("zqhush-hush", "zqhush-hush")
    file = tmp_path / "setpoint.yaml"
    file.write_text(config.format(*held))
    assert main(["check", "-c", str(file)]) == REFUSED
    told = capsys.readouterr()
    assert told.err
    assert "zqhush-hush" not in told.out + told.err
