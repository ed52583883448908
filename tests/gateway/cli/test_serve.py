"""`setpoint serve`: what its flags change. How it runs is in `tests/gateway/test_serve.py`."""

import gc
from pathlib import Path

import pytest

from gateway.cli import OK, REFUSED, main
from gateway.settings import LoadedConfig
from tests.support.command_files import config


@pytest.mark.req("ENG-3")
@pytest.mark.parametrize(("flags", "tested"), [((), True), (("--no-self-test",), False)])
def test_serve_can_be_told_to_ask_no_backend_for_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], *, tested: bool
) -> None:
    served: list[LoadedConfig] = []

    async def serve(loaded: LoadedConfig, say: object) -> None:
        served.append(loaded)
        assert gc.isenabled()

    monkeypatch.setattr("gateway.serve.serve", serve)
    assert main(["serve", "--config", config(tmp_path, ""), *flags]) == OK
    assert [pool.self_test for pool in served[0].pools] == [tested]


@pytest.mark.parametrize("workers", ["1", "3"])
def test_several_workers_are_a_supervisors_and_one_is_no_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    served: list[int] = []

    async def serve(loaded: LoadedConfig, say: object) -> None:
        served.append(1)

    async def supervise(loaded: LoadedConfig, count: int) -> int:
        served.append(count)
        return OK

    monkeypatch.setattr("gateway.serve.serve", serve)
    monkeypatch.setattr("gateway.workers.supervisor.supervise", supervise)
    assert main(["serve", "--config", config(tmp_path, ""), "--workers", workers]) == OK
    assert served == [int(workers)]


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("workers", ["0", "-1", "65", "two"])
def test_a_number_of_workers_that_cannot_be_is_refused(
    workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--workers", workers])
    assert ended.value.code == REFUSED
    assert "not a number from 1 to 64: say as many as there are cores" in capsys.readouterr().err
