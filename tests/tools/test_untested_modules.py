"""A module without a test file is found, and so is an excuse that has become untrue."""

from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.req("OPS-4")


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_the_test_stands_at_the_mirrored_place(untested: ModuleType, tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "gateway/__init__.py",
        "gateway/edge.py",
        "gateway/upstream/edge.py",
        "tests/gateway/upstream/test_edge.py",
    )
    assert untested.complaints(root, {}) == ["gateway/edge.py has no tests/gateway/test_edge.py"]


def test_one_module_may_have_several_files(untested: ModuleType, tmp_path: Path) -> None:
    root = tree(tmp_path, "policies/limit.py", "tests/policies/test_limit_properties.py")
    assert untested.complaints(root, {}) == []


def test_a_neighbours_file_is_not_taken_for_a_second_one(
    untested: ModuleType, tmp_path: Path
) -> None:
    root = tree(
        tmp_path, "adapters/sse.py", "adapters/sse_out.py", "tests/adapters/test_sse_out.py"
    )
    assert untested.complaints(root, {}) == ["adapters/sse.py has no tests/adapters/test_sse.py"]


def test_an_excuse_must_be_true(untested: ModuleType, tmp_path: Path) -> None:
    root = tree(
        tmp_path, "contracts/a.py", "contracts/b.py", "contracts/c.py", "tests/contracts/test_b.py"
    )
    excuses = {f"contracts/{name}.py": "a Struct" for name in "abx"}
    assert untested.complaints(root, excuses) == [
        "contracts/c.py has no tests/contracts/test_c.py",
        "contracts/x.py is excused from tests but does not exist",
        "contracts/b.py is excused from tests but has one",
    ]
    assert untested.main(root) == 1
