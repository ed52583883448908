"""Files and folders that the configuration names."""

from pathlib import Path

import pytest

from gateway.configuration import load
from tests.support.configured import load_text, problems


def test_paths_start_from_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "ca.pem").touch()
    loaded = load_text(
        tmp_path,
        "policies: rules\nlogging: {file: out.log, decisions: log/../decisions.jsonl}\n"
        "pools: [{id: a, engine: openai, ca_file: ca.pem}]\n",
    )
    assert loaded.base_dir == tmp_path
    assert loaded.policies_path == tmp_path / "rules"
    assert loaded.log_file == tmp_path / "out.log"
    assert loaded.decisions_file == tmp_path / "log" / ".." / "decisions.jsonl"
    assert load(None, env={}).decisions_file is None
    assert loaded.pools[0].ca_file == tmp_path / "ca.pem"


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("policies: nowhere/", "1:11: policies: no such file or folder"),
        ('policies: "a\\0b"', "1:11: policies: no such file or folder"),
        (
            "logging: {file: a.jsonl, decisions: ./a.jsonl}",
            "1:37: logging.decisions: the same file as logging.file",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]
