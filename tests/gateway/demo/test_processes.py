"""A child says where it listens, is ended by its pid, and a failure says why."""

import json
import signal
import sys
from pathlib import Path

import pytest

from gateway.demo import processes
from gateway.demo.processes import Child, DidNotStart

pytestmark = pytest.mark.req("INT-10")
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {}; time.sleep(60)"
SAYS = "print('listens on http://127.0.0.1:1', flush=True)"


def scripted(child: Child, script: str) -> Child:
    child._command = [sys.executable, "-c", script]
    return child


async def test_a_child_listens_where_it_says_until_it_is_stopped(tmp_path: Path) -> None:
    child = Child("llmd", ["llmd", "--port", "0"], tmp_path)
    try:
        assert (await child.start()).startswith("http://127.0.0.1:")
        assert child.running
    finally:
        code = await child.stop()
    assert code == -signal.SIGTERM
    assert not child.running


async def test_a_child_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    child = Child("llmd", ["llmd", "--port", "none"], tmp_path)
    with pytest.raises(DidNotStart, match="'none' is not a port"):
        await child.start()
    assert not child.running
    assert await child.stop() == 2


async def test_a_child_that_never_listens_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_S", 0.2)
    child = scripted(Child("mute", [], tmp_path), DEAF.format("0"))
    try:
        with pytest.raises(DidNotStart, match="did not listen"):
            await child.start()
    finally:
        child.kill()
    assert not child.running


async def test_a_child_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.2)
    child = scripted(Child("deaf", [], tmp_path), DEAF.format(SAYS))
    await child.start()
    assert await child.stop() == -signal.SIGKILL
    assert not child.running


async def test_a_child_gets_no_key_of_the_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = f"import os, sys; sys.stderr.write(str(dict(os.environ))); {SAYS}"
    child = scripted(Child("told", [], tmp_path), script)
    await child.start()
    await child.stop()
    told = (tmp_path / "told.err").read_text()
    assert "PATH" in told
    assert "sk-secret" not in told


def test_the_errors_of_a_log_are_told_once_each_and_not_all(tmp_path: Path) -> None:
    child = Child("told", [], tmp_path)
    failed = {
        "level": "error",
        "event": "background_task_failed",
        "exception": "Trace\nKeyError: 1\n",
    }
    lines = [
        {"level": "info", "event": "request"},
        failed,
        failed,
        *({"level": "critical", "event": f"bug {nth}"} for nth in range(9)),
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "told.err").write_text(f"not JSON\n{text}")
    found = child.errors()
    assert found[:2] == ("background_task_failed: KeyError: 1", "bug 0")
    assert len(found) == processes.MAX_ERRORS


async def test_a_child_that_was_never_started_needs_no_end(tmp_path: Path) -> None:
    child = Child("idle", [], tmp_path)
    child.kill()
    assert await child.stop() is None
