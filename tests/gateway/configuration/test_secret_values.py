"""Secrets that can serve, and those that cannot."""

from pathlib import Path

import pytest

from tests.support.configured import problems


@pytest.mark.req("SEC-1")
def test_an_empty_token_protects_nothing(tmp_path: Path) -> None:
    text = "bind_addr: 0.0.0.0:80\nauth: {token: '${TOKEN}'}\n"
    assert problems(tmp_path, text, TOKEN="") == [
        "2:15: auth.token: empty (leave the field out, or give it a value)"
    ]
    (problem,) = problems(tmp_path, text)
    assert "the environment variable TOKEN is not set" in problem


@pytest.mark.req("SEC-3", "SEC-4")
def test_a_secret_file_that_cannot_serve_is_a_problem_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "long").write_text("x" * 70_000, encoding="utf-8")
    (tmp_path / "two").write_text("top-secret\nsecond\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    text = "auth:\n  keys:\n" + "".join(
        f'    - {{name: {name}, token: {{file: "{file}"}}}}\n'
        for name, file in [
            ("a", "missing"),
            ("b", "empty"),
            ("c", "long"),
            ("d", "two"),
            ("e", "binary"),
            ("f", "."),
            ("g", "a\\0b"),
        ]
    )
    found = problems(tmp_path, text)
    assert [problem.split(": ", 2)[:2] for problem in found] == [
        ["3:31", "auth.keys[0].token.file"],
        ["4:31", "auth.keys[1].token.file"],
        ["5:31", "auth.keys[2].token.file"],
        ["6:24", "auth.keys[3].token"],
        ["7:24", "auth.keys[4].token"],
        ["8:31", "auth.keys[5].token.file"],
        ["9:31", "auth.keys[6].token.file"],
    ]
    assert "top-secret" not in "".join(found)
    hint = "(the path of a file that the gateway may read, from the configuration's own folder)"
    assert f"cannot be read: in {tmp_path}: No such file or directory {hint}" in found[0]
    assert "not a path (the path of a file)" in found[6]


@pytest.mark.req("SEC-3", "SEC-4")
def test_a_missing_secret_file_is_named_and_what_may_be_the_secret_is_not(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "auth: {token: {file: '${DIR}/token'}}", DIR="/nowhere")
    assert "cannot be read: /nowhere/token: No such file or directory (" in told
    (told,) = problems(tmp_path, "auth: {token: {file: '${TOKEN}'}}", TOKEN="sk-secret")
    assert "sk-secret" not in told
