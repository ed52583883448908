"""A configuration from text: loaded, or with all that is wrong with it."""

from pathlib import Path

import pytest

from contracts.problems import ProblemsFound
from gateway.configuration import load
from gateway.settings import LoadedConfig

ONE_POOL = "pools: [{id: a, engine: llamacpp, endpoint: 'http://127.0.0.1:1'}]\n"
POOL = "pools: [{id: a, engine: llamacpp, endpoint: 'http://127.0.0.1:1', %s}]\n"
TELEMETRY = (
    "telemetry: {otlp: 'https://otlp.test/base/', headers: {authorization: 'Basic ${KEY}'},"
    " sample: 5%, traceparent: true}"
)


def load_text(tmp_path: Path, text: str, **env: str) -> LoadedConfig:
    path = tmp_path / "setpoint.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, env=env)


def problems(tmp_path: Path, text: str, **env: str) -> list[str]:
    """Without the file's name: `line:column: path: message (hint)`."""
    with pytest.raises(ProblemsFound) as caught:
        load_text(tmp_path, text, **env)
    prefix = f"{tmp_path / 'setpoint.yaml'}:"
    return [str(problem).removeprefix(prefix) for problem in caught.value.problems]
