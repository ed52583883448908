"""Records in a file: bounded, in order, there until they are written."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records import spill as module
from gateway.records.spill import Spill

ALL = 10**9


def lines(spill: Spill) -> list[bytes]:
    return spill.read(ALL, ALL)[0]


def test_lines_come_back_in_their_order_until_they_are_forgotten(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s")
    assert spill.append([b"one", b"two", b"three"]) == 3
    for _ in range(2):
        assert spill.read(2, ALL) == ([b"one", b"two"], 8)
    spill.forget(8)
    assert lines(spill) == [b"three"]
    spill.append([b"four"])
    assert lines(spill) == [b"three", b"four"]
    spill.forget(spill.read(9, ALL)[1])
    assert spill.waiting_bytes == 0
    assert (tmp_path / "s").stat().st_size == 0
    spill.close()


def test_it_takes_no_more_than_its_bound(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s", max_bytes=10)
    assert spill.append([b"1234", b"1234", b"1234"]) == 2
    assert spill.append([b""]) == 0
    assert (tmp_path / "s").stat().st_size == 10
    spill.close()


def test_a_reading_is_bounded_in_bytes_and_never_stuck(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s")
    spill.append([b"long" * 10, b"b", b"c"])
    assert spill.read(9, 1) == ([b"long" * 10], 41)
    spill.forget(41)
    assert spill.read(9, 3) == ([b"b", b"c"], 45)
    spill.close()


@pytest.mark.req("SEC-3")
def test_the_file_is_for_its_owner_only_and_goes_when_it_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "new" / "s"
    spill = Spill(file)
    spill.append([b"one"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    spill.forget(spill.read(ALL, ALL)[1])
    spill.close()
    assert not file.exists()
    spill.close()


def test_the_next_process_takes_up_what_was_left(tmp_path: Path) -> None:
    one = Spill(tmp_path / "s")
    one.append([b"one", b"two"])
    one.forget(one.read(1, ALL)[1])
    one.close()
    two = Spill(tmp_path / "s")
    assert two.waiting_bytes == 0
    two.take_up()
    assert lines(two) == [b"one", b"two"]  # again, rather than not at all
    two.close()


def test_nothing_is_made_where_nothing_was_left(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s")
    spill.take_up()
    spill.close()
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b'one\n{"tw')
    spill = Spill(tmp_path / "s")
    spill.append([b"three"])
    assert lines(spill) == [b"one", b'{"tw', b"three"]
    spill.close()


def test_each_process_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAMES", 2)
    one, two, three = (Spill(tmp_path / "s") for _ in range(3))
    one.append([b"one"])
    two.append([b"two"])
    assert (lines(one), lines(two)) == ([b"one"], [b"two"])
    with pytest.raises(BlockingIOError):
        three.append([b"three"])
    one.close()
    three.append([b"three"])
    assert lines(three) == [b"one", b"three"]
    two.close()
    three.close()


def crash(spill: Spill) -> None:
    """What the kernel does for a process that is gone."""
    for held in spill._all():
        os.close(held.file)


@pytest.mark.req("RUN-8")
def test_what_a_crashed_process_left_is_taken_up_by_exactly_one(tmp_path: Path) -> None:
    one, two, three = (Spill(tmp_path / "s") for _ in range(3))
    one.append([b"one"])
    two.append([b"two"])
    three.append([b"three"])
    crash(two)
    crash(three)
    one.take_up()
    other = Spill(tmp_path / "s")
    other.take_up()
    assert other.waiting_bytes == 0
    found = []
    while one.waiting_bytes:
        read, read_to = one.read(ALL, ALL)
        one.take_up()  # which changes nothing about what was read
        found.append(read)
        one.forget(read_to)
    assert found == [[b"two"], [b"three"], [b"one"]]
    one.close()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_starts_alone_finds_what_each_of_several_left(tmp_path: Path) -> None:
    one, two = Spill(tmp_path / "s"), Spill(tmp_path / "s")
    one.append([b"one"])
    two.append([b"two"])
    one.forget(one.read(ALL, ALL)[1])
    one.close()
    crash(two)  # and so there is `s.1`, and no `s`
    alone = Spill(tmp_path / "s")
    alone.take_up()
    alone.append([b"three"])
    assert lines(alone) == [b"two", b"three"]
    alone.close()


def test_a_file_that_its_owner_removes_meanwhile_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = Spill(tmp_path / "s"), Spill(tmp_path / "s")
    owner.append([b"one"])
    owner.forget(owner.read(ALL, ALL)[1])
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        owner.close()  # between the other's opening and its locking
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert other.append([b"two"]) == 1
    monkeypatch.undo()
    crash(other)
    third = Spill(tmp_path / "s")
    third.take_up()
    assert lines(third) == [b"two"]
    third.close()


def test_an_empty_file_that_was_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "s.3").touch()
    spill = Spill(tmp_path / "s")
    spill.take_up()
    assert list(tmp_path.iterdir()) == []
    spill.close()


@pytest.mark.req("RUN-8")
def test_processes_that_come_and_go_lose_nothing_and_read_nothing_twice(tmp_path: Path) -> None:
    """Real ones: locks are the kernel's business."""
    code = (
        "import sys; from pathlib import Path; from gateway.records.spill import Spill\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for turn in range(40):\n"
        "    spill = Spill(path / 's'); spill.take_up()\n"
        "    spill.append([f'{name}{turn}'.encode()])\n"
        "    while spill.waiting_bytes:\n"
        "        lines, at = spill.read(9, 10**9)\n"
        "        sys.stdout.write(''.join(line.decode() + chr(10) for line in lines))\n"
        "        spill.forget(at)\n"
        "    spill.close()\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, name], stdout=subprocess.PIPE)
        for name in "abc"
    ]
    told = b"".join(process.communicate(timeout=60)[0] for process in running).split()
    assert sorted(told) == sorted(f"{name}{turn}".encode() for name in "abc" for turn in range(40))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(tmp_path / "s")
    spill.append([b"one"])
    whole = module._write_all

    def half(file: int, block: bytes) -> None:
        whole(file, block[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_all", half)
    with pytest.raises(OSError, match="No space"):
        spill.append([b"two"])
    monkeypatch.undo()
    spill.append([b"three"])
    assert lines(spill) == [b"one", b"three"]
    spill.close()


def test_a_file_that_somebody_else_has_cut_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s")
    spill.append([b"one", b"two"])
    (tmp_path / "s").write_bytes(b"one\n")
    found, read_to = spill.read(ALL, ALL)
    assert found == [b"one"]
    spill.forget(read_to)
    assert spill.waiting_bytes == 0
    spill.close()


@given(
    actions=st.lists(
        st.tuples(st.just("append"), st.lists(st.binary(max_size=4), max_size=5))
        | st.tuples(st.just("read"), st.integers(1, 4))
        | st.tuples(st.just("restart"), st.none()),
        max_size=20,
    )
)
def test_nothing_that_was_kept_is_lost_and_order_holds(
    actions: list[tuple[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("spill") / "s"
    spill, kept, taken = Spill(file, max_bytes=40), [], []
    first = 0  # the first of `kept` that is still in the file
    for kind, value in actions:
        match kind, value:
            case "append", list():
                texts = [line.hex().encode() for line in value]
                kept += texts[: spill.append(texts)]
            case "read", int():
                found, read_to = spill.read(value, ALL)
                taken += found
                spill.forget(read_to)
                if spill.waiting_bytes == 0:
                    first = len(kept)
            case _:
                spill.close()
                spill = Spill(file, max_bytes=40)
                spill.take_up()
                taken = kept[:first]  # what is in the file is read again
        assert taken == kept[: len(taken)]
        assert not file.exists() or file.stat().st_size <= 40
    assert taken + lines(spill) == kept
    spill.close()
