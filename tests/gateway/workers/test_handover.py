"""What a started process is given: everything of the configuration, and secrets only this way."""

import io
import pickle
from pathlib import Path

import pytest

from gateway.configuration import load
from gateway.workers.handover import Handover, check_paths, hand_over, take_over

pytestmark = pytest.mark.req("SEC-3")
CONFIG = """
auth: {token: op-7d1f0c2b9a}
pools:
  - {id: local, engine: openai, endpoints: ["http://127.0.0.1:9"], api_key: sk-of-the-pool}
models: [{name: served, pool: local}]
"""


def handover(folder: Path) -> Handover:
    (folder / "setpoint.yaml").write_text(CONFIG)
    return Handover(
        loaded=load(folder / "setpoint.yaml", env={}),
        part="worker",
        number=1,
        count=2,
        folder=folder,
        port=8080,
        first=True,
    )


def test_a_process_gets_the_configuration_in_force_with_its_secrets(tmp_path: Path) -> None:
    given = handover(tmp_path)
    pipe = io.BytesIO(hand_over(given) + b"drain\n")
    taken = take_over(pipe)
    assert taken == given
    assert taken.loaded.token is not None
    assert taken.loaded.token.reveal() == "op-7d1f0c2b9a"
    assert taken.loaded.pools[0].api_key is not None
    assert taken.loaded.pools[0].api_key.reveal() == "sk-of-the-pool"
    assert pipe.read() == b"drain\n"


def test_secrets_cannot_be_pickled_anywhere_else(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(handover(tmp_path).loaded)


def test_a_supervisor_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EOFError):
        take_over(io.BytesIO(hand_over(handover(tmp_path))[:100]))


@pytest.mark.req("SEC-4")
def test_a_folder_whose_sockets_would_have_too_long_paths_is_refused_with_what_to_do() -> None:
    check_paths(Path("/tmp/setpoint-12345678"), 64)
    with pytest.raises(OSError, match="set TMPDIR to a folder with a shorter path"):
        check_paths(Path("/tmp") / ("x" * 90), 2)
