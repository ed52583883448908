"""`setpoint serve` and `setpoint llmd` as an operator starts them: processes with a command line."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.exposition import Exposition
from tests.support.llama_server import LlamaServer
from tests.support.processes import Server, eventually
from tests.support.wire import get, post, reachable

OPERATOR_TOKEN, WEB_TOKEN = "op-7d1f0c2b9a", "web-51ce9e0d44"
"""The tokens of the gateway that asks for one: the operator's, and that of a caller named `web`."""
ROOT = Path(__file__).resolve().parents[2]
_LISTENS = re.compile(r"listens on (http://\S+)")


class SetpointServer(Server):
    """A `setpoint` subcommand that listens; it says where on its first line."""

    def __init__(
        self, name: str, folder: Path, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", "gateway.cli", *arguments]
        super().__init__(name, command, folder, env=env, cwd=ROOT)
        self.url = ""

    def start(self) -> Self:
        self._launch(lambda: _LISTENS.search(self.stdout) is not None)
        found = _LISTENS.search(self.stdout)
        assert found is not None
        self.url = found[1]
        return self


class Gateway(SetpointServer):
    """`setpoint serve` with the configuration `config` (YAML), on a free port of loopback. Without
    `self_test` the engine behind it works for the test's own requests only."""

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        name: str = "gateway",
        self_test: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.config_file = folder / f"{name}.yaml"
        self.config_file.write_text(f"bind_addr: 127.0.0.1:0\n{config}\n")
        flags = () if self_test else ("--no-self-test",)
        super().__init__(name, folder, "serve", "--config", str(self.config_file), *flags, env=env)

    @property
    def v1(self) -> str:
        """What an SDK gets as `base_url`."""
        return f"{self.url}/v1"

    def metrics(self, *, headers: dict[str, str] | None = None) -> Exposition:
        return Exposition(get(f"{self.url}/metrics", headers=headers).body.decode())

    def ready(self) -> bool:
        return reachable(f"{self.url}/readyz")

    def log(self, event: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The log so far: lines of one event, with these values. Every line must be JSON."""
        whole = self.stderr.rpartition("\n")[0]  # the last line may be half written
        lines = [json.loads(line) for line in whole.splitlines()]
        return [
            line
            for line in lines
            if (event is None or line["event"] == event) and fields.items() <= line.items()
        ]

    def logged(self, event: str, **fields: object) -> dict[str, Any]:
        """The first such line, once it is there: a thread of its own writes the log."""
        return eventually(lambda: self.log(event, **fields), f"{event} {fields} is logged")[0]


class Llmd(SetpointServer):
    """`setpoint llmd`: the simulated llm-d behind a socket of its own."""

    def __init__(self, folder: Path, *arguments: str, name: str = "llmd") -> None:
        super().__init__(name, folder, "llmd", "--port", "0", *arguments)

    def metrics(self) -> Exposition:
        return Exposition(get(f"{self.url}/metrics").body.decode())

    def running(self) -> float:
        return self.metrics().total("vllm:num_requests_running")

    def waiting(self) -> float:
        return self.metrics().total("vllm:num_requests_waiting")

    def configure(self, **changes: object) -> None:
        answer = post(f"{self.url}/admin/config", changes)
        assert answer.status == 200, answer


class Served(NamedTuple):
    """A gateway and a model it serves, whatever is behind it."""

    gateway: Gateway
    model: str
    engine: str


def in_front_of(engine: str, server: LlamaServer | Llmd) -> str:
    """The smallest useful configuration."""
    return f"adapter: {{engine: {engine}, endpoint: {server.url}}}"
