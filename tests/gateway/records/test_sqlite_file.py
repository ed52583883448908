"""SQLite's file as a file."""

import stat
from pathlib import Path

import pytest

from gateway.records.faults import RecordsDown
from gateway.records.sqlite_file import identity, lies_still, make_private


@pytest.mark.req("SEC-3")
def test_it_is_made_for_its_owner_only_and_once(tmp_path: Path) -> None:
    file = tmp_path / "var" / "a.db"
    make_private(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("kept")
    make_private(file)
    assert file.read_text() == "kept"


def test_where_it_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordsDown, match=r"a\.db: .*/file is not a folder"):
        make_private(tmp_path / "file" / "a.db")
    with pytest.raises(RecordsDown, match="Is a directory"):
        make_private(tmp_path)


def test_another_file_of_the_same_name_is_another(tmp_path: Path) -> None:
    file, other = tmp_path / "a.db", tmp_path / "b.db"
    file.touch()
    other.touch()
    first = identity(file)
    file.write_text("changed")
    assert identity(file) == first is not None
    other.replace(file)
    assert identity(file) not in (first, None)
    file.unlink()
    assert identity(file) is None


def test_a_copy_where_nobody_can_write_lies_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.db"
    assert not lies_still(file)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert lies_still(file)
    (tmp_path / "a.db-wal").touch()
    assert not lies_still(file)
