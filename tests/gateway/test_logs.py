"""The log: what gets there, in which order, and that nobody waits for it."""

import fcntl
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import logs
from gateway.log_lines import Readable
from gateway.logs import LogOutput
from tests.cost.in_memory import counting
from tests.support.log_records import SECRET, record, redact


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    """`LogOutput` sets the process's level."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.mark.req("OPS-4")
def test_a_batch_is_searched_once_and_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "GATHER_S", 0.05)
    searched: list[str] = []

    def noted(text: str) -> str:
        searched.append(text)
        return redact(text)

    stream = Counting()
    made = LogOutput(
        level="info", form="json", file=None, redact=noted, on_drop=lambda: None, stream=stream
    )
    for number in range(20):
        logs.event(logging.INFO, "line", number=number)
    made.close()
    assert (len(searched), stream.writes) == (1, 1)


@pytest.mark.req("OPS-4")
def test_an_event_takes_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's, which want records
    made, _, _ = both(tmp_path)
    logs.event(logging.INFO, "first")  # its level is known now
    with counting() as calls:
        for _ in range(10):
            logs.event(logging.INFO, "request", a=1)
    made.close()
    assert sum(calls.values()) < 120  # 164 by way of `logging`


def test_other_handlers_get_a_record_with_what_was_said() -> None:
    told: list[logging.LogRecord] = []

    class Other(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record)

    root, other = logging.getLogger(), Other(logging.WARNING)
    root.addHandler(other)
    try:
        logs.event(logging.WARNING, "odd", a=1)
        logs.event(logging.INFO, "usual")
        logs.failure("broken", KeyError("x"), b=2)
    finally:
        root.removeHandler(other)
    said = [(r.name, r.levelname, r.getMessage(), r.__dict__["fields"]) for r in told]
    assert said == [
        ("setpoint", "WARNING", "odd", {"a": 1}),
        ("setpoint", "ERROR", "broken", {"b": 2}),
    ]
    assert told[1].exc_info is not None
    assert told[1].exc_info[0] is KeyError


def test_where_no_log_is_kept_a_warning_is_still_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.event(logging.WARNING, "odd")
    logs.event(logging.INFO, "usual")
    assert capsys.readouterr().err == "odd\n"


def test_events_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    made = output(stream, form="auto")
    logs.event(logging.DEBUG, "unseen")
    logs.event(logging.INFO, "seen", a=1)
    logging.getLogger("elsewhere").warning("said %s", "so")
    made.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["seen", "library_message"]
    assert (lines[1]["logger"], lines[1]["message"]) == ("elsewhere", "said so")


@pytest.mark.req("SEC-5")
def test_a_log_that_cannot_be_written_is_dropped_and_counted_and_nobody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "QUEUE_LINES", 5)
    stuck = threading.Event()
    drops = [0]

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            assert stuck.wait(10)
            return super().write(text)

    def drop() -> None:
        drops[0] += 1

    stream = Stuck()
    made = output(stream, drop)
    try:
        for number in range(20):
            logs.event(logging.INFO, "line", number=number)
        assert drops[0] >= 14
    finally:
        stuck.set()
        made.close()
    assert len(stream.getvalue().splitlines()) == 20 - drops[0]


def output(
    stream: io.StringIO, on_drop: Callable[[], None] = lambda: None, **more: Any
) -> LogOutput:
    """At "info" in JSON to `stream`, unless `more` says otherwise."""
    told = {"level": "info", "form": "json", "file": None, **more}
    return LogOutput(redact=redact, on_drop=on_drop, stream=stream, **told)


class Counting(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_lines_are_written_in_order_and_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BATCH_LINES", 100)
    stream = Counting()
    made = output(stream)
    for number in range(1050):
        logs.event(logging.INFO, "line", number=number)
    made.close()
    written = [json.loads(line)["number"] for line in stream.getvalue().splitlines()]
    assert written == list(range(1050))
    assert 11 <= stream.writes < 200


@pytest.mark.req("OPS-4")
def test_a_batch_that_waits_already_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or there would be a bound to how many lines a second can be written."""
    monkeypatch.setattr(logs, "BATCH_LINES", 10)
    begun, all_there = threading.Event(), threading.Event()
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        begun.set()
        all_there.wait()

    monkeypatch.setattr(logs, "time", SimpleNamespace(sleep=sleep, time=lambda: 0.0))
    stream = Counting()
    made = output(stream)
    logs.event(logging.INFO, "line", number=0)
    begun.wait()
    for number in range(1, 101):
        logs.event(logging.INFO, "line", number=number)
    all_there.set()
    made.close()
    assert stream.writes == 11
    # the first line, and where fewer than a batch are left
    assert len(sleeps) <= 3


def test_a_value_that_cannot_be_shown_ends_neither_the_log_nor_its_line() -> None:
    class Broken:
        def __str__(self) -> str:
            raise KeyError

    stream = io.StringIO()
    made = output(stream)
    logs.event(logging.INFO, "broken", value=Broken())
    logs.event(logging.INFO, "after")
    made.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["unloggable", "after"]
    assert (lines[0]["what"], lines[0]["error"]) == ("broken", "KeyError")


def test_lines_that_the_target_refuses_are_counted_and_the_next_ones_are_written() -> None:
    drops = [0]
    full = threading.Event()
    refused = threading.Event()
    full.set()

    class Disk(io.StringIO):
        def write(self, text: str) -> int:
            if full.is_set():
                raise OSError(28, "No space left on device")
            return super().write(text)

    def drop() -> None:
        drops[0] += 1
        refused.set()

    stream = Disk()
    made = output(stream, drop)
    logs.event(logging.INFO, "lost")
    assert refused.wait(10)
    full.clear()
    logs.event(logging.INFO, "kept")
    made.close()
    assert drops == [1]
    assert json.loads(stream.getvalue())["event"] == "kept"


@pytest.mark.req("SEC-5")
def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CLOSE_S", 0.01)
    stuck = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            assert stuck.wait(10)
            return super().write(text)

    made = output(Stuck())
    logs.event(logging.INFO, "line")
    try:
        made.close()
        assert not stuck.is_set()
    finally:
        stuck.set()


def test_a_log_file_gets_json(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    made = LogOutput(level="info", form="auto", file=file, redact=redact, on_drop=lambda: None)
    logs.event(logging.INFO, "seen")
    made.close()
    assert json.loads(file.read_text())["event"] == "seen"


def test_a_log_file_that_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        LogOutput(
            level="info",
            form="auto",
            file=tmp_path / "a" / "b",
            redact=redact,
            on_drop=lambda: None,
        )


# -- the decision log ---------------------------------------------------------------------


def both(tmp_path: Path, level: str = "info") -> tuple[LogOutput, io.StringIO, Path]:
    """A log, what is written to it, and the decision log beside it."""
    stream, file = io.StringIO(), tmp_path / "decisions.jsonl"
    made = output(stream, level=level, decisions=file)
    return made, stream, file


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.req("INT-7")
def test_the_decision_log_has_each_decision_on_a_line_and_nothing_else(tmp_path: Path) -> None:
    made, stream, file = both(tmp_path)
    logs.event(logging.WARNING, "request", status=500)
    logs.decision(seq=1, words="switched\nmodel")
    logging.getLogger("elsewhere").warning("decision")
    logging.getLogger("elsewhere").error("other")
    logs.decision(seq=2, words="confirmed", trial={"samples": 3}, rung=None)
    made.close()
    told = lines_of(file.read_text())
    assert [(line["event"], line["seq"], line["words"]) for line in told] == [
        ("decision", 1, "switched\nmodel"),
        ("decision", 2, "confirmed"),
    ]
    assert told[1]["trial"] == {"samples": 3}
    assert "rung" not in told[1]
    assert len(lines_of(stream.getvalue())) == 5, "the log has them too"


@pytest.mark.req("INT-7")
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_decision_log_has_every_decision_whatever_the_level_of_the_log(
    tmp_path: Path, level: str
) -> None:
    made, stream, file = both(tmp_path, level)
    logs.decision(seq=1)
    logs.event(logging.ERROR, "seen")
    made.close()
    assert [line["event"] for line in lines_of(file.read_text())] == ["decision"]
    quiet = level in ("warning", "error")
    shown = [line["event"] for line in lines_of(stream.getvalue())]
    assert shown == (["seen"] if quiet else ["decision", "seen"])


@pytest.mark.req("SEC-3")
def test_the_decision_log_is_redacted(tmp_path: Path) -> None:
    made, _, file = both(tmp_path)
    logs.decision(seq=1, words=f"it says {SECRET}")
    made.close()
    assert SECRET not in json.loads(file.read_text())["words"]
    assert "***" in file.read_text()


def test_the_decision_log_goes_on_where_an_earlier_start_ended(tmp_path: Path) -> None:
    for number in (1, 2):
        made, _, file = both(tmp_path)
        logs.decision(seq=number)
        made.close()
    assert [line["seq"] for line in lines_of(file.read_text())] == [1, 2]


@pytest.mark.parametrize("missing", ["file", "decisions"])
def test_where_one_file_cannot_be_opened_nothing_is_left_behind(
    tmp_path: Path, missing: str
) -> None:
    before = list(logging.getLogger().handlers), threading.active_count()
    places = {"file": tmp_path / "log", "decisions": tmp_path / "decided"}
    places[missing] = tmp_path / "nowhere" / "x"
    with pytest.raises(OSError, match="No such file"):
        LogOutput(level="info", form="json", redact=redact, on_drop=lambda: None, **places)
    assert (list(logging.getLogger().handlers), threading.active_count()) == before


@pytest.mark.req("OPS-1")
def test_a_line_says_which_process_it_is_of(tmp_path: Path) -> None:
    stream = io.StringIO()
    written = output(stream, process=1, lock=tmp_path / "lock")
    logs.event(logging.INFO, "started", a=1)
    written.close()
    line = json.loads(stream.getvalue())
    assert (line["worker"], line["a"]) == (1, 1)
    assert "worker=0" in Readable(redact, colour=False, process=0).format(record())


@pytest.mark.req("OPS-1")
def test_a_batch_waits_for_another_process_that_writes(tmp_path: Path) -> None:
    stream, lock = io.StringIO(), tmp_path / "lock"
    other = lock.open("a")
    fcntl.flock(other, fcntl.LOCK_EX)
    written = output(stream, lock=lock)
    logs.event(logging.INFO, "started")
    threading.Event().wait(0.05)
    assert stream.getvalue() == ""
    other.close()
    written.close()
    assert json.loads(stream.getvalue())["event"] == "started"
