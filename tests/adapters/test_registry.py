"""Which engines there are: what ships, and what an installed distribution adds by entry point."""

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from adapters.openai import OpenAIDialect
from adapters.registry import DIALECTS, GROUP, NoDialect, dialect_for, known_engines
from contracts.config import BuiltInEngine

Install = Callable[..., None]
pytestmark = pytest.mark.req("RUN-2")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install("dist", engine="module:object")`: a distribution on the path, as pip would leave it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, **entries: str) -> None:
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{engine} = {value}" for engine, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))

    return put


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """An importable module of a plug-in."""
    made = types.ModuleType("a_plugged_in_dialect")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.mark.parametrize("engine", get_args(BuiltInEngine))
def test_every_engine_that_ships_has_a_dialect(engine: str) -> None:
    dialect = dialect_for(engine)
    assert dialect.engine == ("llmd" if engine == "embedded" else engine)
    assert dialect.probes()


def test_no_dialect_is_left_without_an_engine() -> None:
    assert set(DIALECTS) == set(get_args(BuiltInEngine))


@pytest.mark.req("OPS-4")
def test_nothing_is_loaded_that_no_pool_names() -> None:
    code = (
        "import sys; from adapters.registry import dialect_for\n"
        "unused = ('adapters.anthropic', 'adapters.gemini', 'adapters.ollama', 'importlib.metadata')\n"
        "dialect_for('openai')\n"
        "print([m for m in unused if m in sys.modules])\n"
        "dialect_for('gemini')\n"
        "print([m for m in unused if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[]", "['adapters.gemini']"]


def test_an_unknown_engine_is_told_which_are_known() -> None:
    with pytest.raises(NoDialect, match="there is no engine 'vlm'") as raised:
        dialect_for("vlm")
    assert raised.value.hint == f"known: {', '.join(known_engines())}"
    assert "vllm" in known_engines()


def test_an_installed_distribution_adds_an_engine(
    install: Install, module: types.ModuleType
) -> None:
    class Mine(OpenAIDialect):
        engine = "mine"

    module.Mine = Mine  # type: ignore[attr-defined]
    install("setpoint-mine", mine="a_plugged_in_dialect:Mine")
    assert isinstance(dialect_for("mine"), Mine)
    assert "mine" in known_engines()


def test_what_ships_cannot_be_replaced(install: Install, module: types.ModuleType) -> None:
    module.Mine = object  # type: ignore[attr-defined]
    install("setpoint-mine", vllm="a_plugged_in_dialect:Mine")
    assert dialect_for("vllm").engine == "vllm"


def test_two_plug_ins_of_one_name_are_an_error_that_names_both(install: Install) -> None:
    install("setpoint-one", mine="one:Mine")
    install("setpoint-two", mine="two:Mine")
    with pytest.raises(NoDialect, match="more than one plug-in") as raised:
        dialect_for("mine")
    assert "one:Mine of setpoint-one" in raised.value.hint
    assert "two:Mine of setpoint-two" in raised.value.hint


def test_a_plug_in_that_cannot_be_imported_is_an_error_that_says_why(install: Install) -> None:
    install("setpoint-mine", mine="no_such_module:Mine")
    with pytest.raises(
        NoDialect, match="no_such_module:Mine of setpoint-mine cannot be loaded: ModuleNotFound"
    ):
        dialect_for("mine")


def test_a_plug_in_that_fails_to_start_is_an_error_that_says_why(
    install: Install, module: types.ModuleType
) -> None:
    def refuses() -> None:
        raise RuntimeError("no licence")

    module.refuses = refuses  # type: ignore[attr-defined]
    install("setpoint-mine", mine="a_plugged_in_dialect:refuses")
    with pytest.raises(NoDialect, match="RuntimeError: no licence"):
        dialect_for("mine")


def test_a_plug_in_that_is_no_dialect_is_told_what_it_lacks(
    install: Install, module: types.ModuleType
) -> None:
    class Half(OpenAIDialect):
        access = None  # type: ignore[assignment]
        probes = None  # type: ignore[assignment]

    module.Half = Half  # type: ignore[attr-defined]
    install("setpoint-half", half="a_plugged_in_dialect:Half")
    with pytest.raises(NoDialect, match="is no dialect: it lacks access, probes"):
        dialect_for("half")
