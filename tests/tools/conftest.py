"""The scripts of this folder as modules: they are run by path, so they belong to no package."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def matrix() -> ModuleType:
    return script("requirements_matrix")


@pytest.fixture(scope="session")
def untested() -> ModuleType:
    return script("untested_modules")
