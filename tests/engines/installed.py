"""Real engines, each in a virtual environment of its own, beside a model: where they are and what is there.

They are gigabytes and no part of the development environment: `make engines` installs them once, into
`.engines` or wherever SETPOINT_ENGINES says. Versions are pinned here; there are no locks with hashes for them,
since what fits is what the machine's wheels are.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINES = Path(os.environ.get("SETPOINT_ENGINES", ROOT / ".engines")).resolve()
MODEL = ENGINES / "model"
"""SmolLM2-135M-Instruct as Hugging Face's libraries read it, in bfloat16."""
VERSIONS = {
    "vllm": "0.32.0",
    "torch": "2.13.0",
    "mlx": "0.32.4",
    "mlx-lm": "0.32.2",
    "nvidia-pytriton": "0.7.0",
}


def venv(name: str) -> Path:
    return ENGINES / name


def is_installed(name: str) -> bool:
    """Whether the installation of an engine was finished, and it has a model to read."""
    return (venv(name) / ".installed").exists() and (name == "triton" or MODEL.exists())


def site_packages(name: str) -> Path:
    """Where its packages are. There is one such folder in a virtual environment."""
    (found,) = (venv(name) / "lib").glob("python3*/site-packages")
    return found
