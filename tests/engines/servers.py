"""Real engines as child processes on free ports of loopback, each as its makers would have it started.

`engine` is what a pool says, `title` what the table says, `upstream` its name for the one model it has, `others`
further names of the configuration and what they stand for, `members` what else each of its models there needs.
Further arguments go to its command line.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from tests.engines.installed import MODEL, VERSIONS, site_packages, venv
from tests.support.exposition import Exposition
from tests.support.processes import Server
from tests.support.wire import free_port, get, reachable

T = TypeVar("T")

START_S = 300.0
"""vLLM alone takes half a minute on an idle machine."""


class EngineServer(Server):
    engine = ""
    title = ""
    upstream = ""
    others: ClassVar[dict[str, str]] = {}
    members = ""
    health = "/health"

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = {"HF_HUB_OFFLINE": "1", **self.environment(folder)}
        super().__init__(self.engine, [*self.command(folder), *arguments], folder, env=env)

    def command(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def environment(self, folder: Path) -> dict[str, str]:
        return {}

    def idle(self) -> bool:
        """Whether it works on nothing; True where it does not tell."""
        return True

    def start(self) -> Self:
        self._launch(lambda: reachable(f"{self.url}{self.health}"), within_s=START_S)
        return self

    def stop(self) -> int | None:
        """With the processes that it has started: one that is killed, for hearing nothing while it begins,
        leaves them behind."""
        return self._with_all(super().stop)

    def kill(self) -> None:
        self._with_all(super().kill)

    def _with_all(self, end: Callable[[], T]) -> T:
        running = self._process is not None and self._process.poll() is None
        others = _descendants(self._process.pid) if self._process is not None and running else []
        ended = end()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return ended


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


class VllmServer(EngineServer):
    engine, title, upstream = "vllm", f"vLLM {VERSIONS['vllm']}", "smol"

    def command(self, folder: Path) -> list[str]:
        return [
            str(venv("vllm") / "bin" / "vllm"),
            *("serve", str(MODEL), "--served-model-name", self.upstream),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--max-model-len", "1024", "--max-num-seqs", "4"),
            *("--enforce-eager", "--dtype", "bfloat16"),
            *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        ]

    def environment(self, folder: Path) -> dict[str, str]:
        return {"VLLM_CPU_KVCACHE_SPACE": "1"}

    def idle(self) -> bool:
        exposition = Exposition(get(f"{self.url}/metrics").body.decode())
        return not exposition.total("vllm:num_requests_running")


class MlxServer(EngineServer):
    engine, title, upstream = "mlx", f"mlx_lm.server {VERSIONS['mlx-lm']}", "default_model"

    def command(self, folder: Path) -> list[str]:
        server = str(venv("mlx") / "bin" / "mlx_lm.server")
        return [server, "--model", str(MODEL), "--host", "127.0.0.1", "--port", str(self.port)]


class TritonServer(EngineServer):
    """The binary of PyTriton's wheel, run by itself, with a model of our own."""

    engine, title, upstream = "triton", "Triton 2.51.0", "llm"
    health = "/v2/health/ready"
    others: ClassVar[dict[str, str]] = {"first": "llm/versions/1", "ninth": "llm/versions/9"}
    members = ", template: {user: '{text} ', assistant: '{text} ', system: '{text} ', reply: '', begin: ''}"

    def command(self, folder: Path) -> list[str]:
        site = site_packages("triton") / "pytriton" / "tritonserver"
        repository, backends = folder / "models", folder / "backends"
        model = Path(__file__).with_name("triton_model")
        shutil.copytree(model, repository / "llm", dirs_exist_ok=True)
        shutil.copytree(site / "backends" / "python", backends / "python", dirs_exist_ok=True)
        stub = "triton_python_backend_stub"
        shutil.copy2(site / "python_backend_stubs" / "3.11" / stub, backends / "python" / stub)
        return [
            str(site / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            "--http-address=127.0.0.1",
            f"--http-port={self.port}",
            "--allow-grpc=false",
            "--allow-metrics=false",
        ]

    def environment(self, folder: Path) -> dict[str, str]:
        site = site_packages("triton")
        return {
            "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs"),
            "ENGINE_SITE_PACKAGES": str(site),
        }


SERVERS: dict[str, type[EngineServer]] = {
    "vllm": VllmServer,
    "mlx": MlxServer,
    "triton": TritonServer,
}
