"""`setpoint serve`: what its flags change. How it runs is in `tests/gateway/test_serve.py`."""

import gc
from pathlib import Path

import pytest

from gateway.cli import OK, main
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
