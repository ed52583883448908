"""`make requirements` cannot be fooled by a promise without a test, or a test without a promise."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.req("OPS-4")

DOCUMENT = """\
| id | |
|---|---|
| AB-1 | MUST: be proven |
| AB-2 | SHOULD: be nice |
| AB-3 | MUST: come later |
"""


def marks(matrix: ModuleType, source: str) -> list[Any]:
    return list(matrix.read_marks(source, "tests/test_x.py"))


def test_rows_are_read_in_order(matrix: ModuleType) -> None:
    found = matrix.read_requirements(DOCUMENT)
    assert [(r.id, r.strength) for r in found] == [
        ("AB-1", "MUST"),
        ("AB-2", "SHOULD"),
        ("AB-3", "MUST"),
    ]
    assert found[0].text == "be proven"


@pytest.mark.parametrize(
    "row", ["| AB-1 | be proven |", "| AB-1 | must: whisper |", "| AB-1 | MUST: be there twice |"]
)
def test_a_row_that_is_no_requirement_is_refused(matrix: ModuleType, row: str) -> None:
    with pytest.raises(ValueError, match="AB-1"):
        matrix.read_requirements(DOCUMENT + row + "\n")


def test_marks_are_found_wherever_pytest_allows_them(matrix: ModuleType) -> None:
    source = """
import pytest
pytestmark = [pytest.mark.req("AB-1"), pytest.mark.real]

@pytest.mark.req("AB-2")
class TestIt:
    @pytest.mark.req("AB-3", "AB-4")
    async def test_inner(self): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.req("AB-5"))])
def test_param(x): ...
"""
    assert {m.id: m.test.removeprefix("tests/test_x.py") for m in marks(matrix, source)} == {
        "AB-1": "",
        "AB-2": "::TestIt",
        "AB-3": "::TestIt::test_inner",
        "AB-4": "::TestIt::test_inner",
        "AB-5": "::test_param",
    }


def test_a_mark_in_a_text_or_comment_proves_nothing(matrix: ModuleType) -> None:
    source = 'TEXT = "@pytest.mark.req(\'AB-1\')"\n# @pytest.mark.req("AB-1")\n'
    assert marks(matrix, source) == []


def test_an_id_must_be_a_literal(matrix: ModuleType) -> None:
    with pytest.raises(ValueError, match="literal"):
        marks(matrix, "@pytest.mark.req(ID)\ndef test_x(): ...")


def test_a_must_without_a_test_is_a_complaint_and_a_should_is_not(matrix: ModuleType) -> None:
    requirements = matrix.read_requirements(DOCUMENT)
    proof = [matrix.Mark("AB-1", "tests/test_x.py::test_it")]
    assert matrix.complaints(requirements, proof, {"AB-3": "later"}) == []
    assert matrix.complaints(requirements, proof, {}) == ["AB-3 has no test: come later"]


def test_what_does_not_exist_is_a_complaint(matrix: ModuleType) -> None:
    requirements = matrix.read_requirements(DOCUMENT)
    proof = [matrix.Mark(id_, "t") for id_ in ("AB-1", "AB-3", "AB-9")]
    told = matrix.complaints(requirements, proof, {"AB-2": "a SHOULD", "AB-8": "nothing"})
    assert told == [
        "t names AB-9, which does not exist",
        "NOT_YET holds AB-2, which is no MUST",
        "NOT_YET holds AB-8, which is no MUST",
    ]


def test_the_exit_status_tells_a_gap(
    matrix: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(matrix, "NOT_YET", {"AB-3": "later"})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/requirements.md").write_text(DOCUMENT)
    (tmp_path / "tests").mkdir()
    assert matrix.main(["--gaps"], tmp_path) == 1
    assert capsys.readouterr().out == ""

    (tmp_path / "tests/test_it.py").write_text('@pytest.mark.req("AB-1")\ndef test_it(): ...\n')
    assert matrix.main([], tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "AB-1  MUST: be proven",
        "    tests/test_it.py::test_it",
        "AB-2  SHOULD: be nice",
        "    no test",
        "AB-3  MUST: come later",
        "    not yet: later",
        "1 of 3 requirements have tests",
    ]


def test_what_waits_is_written_down_with_a_reason(matrix: ModuleType) -> None:
    root = Path(__file__).parents[2]
    known = {
        requirement.id: requirement.strength
        for requirement in matrix.read_requirements((root / "docs/requirements.md").read_text())
    }
    assert {id_: known.get(id_) for id_ in matrix.NOT_YET} == dict.fromkeys(matrix.NOT_YET, "MUST")
    assert all(matrix.NOT_YET.values())
