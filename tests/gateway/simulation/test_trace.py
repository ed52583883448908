"""Traces from files: what is read, and what is refused and where."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.problems import ProblemsFound
from gateway.simulation import trace
from gateway.simulation.trace import Arrival, merged, read_trace, stretched

pytestmark = pytest.mark.req("INT-12")

HEADER = "arrival_s,input_tokens,output_tokens"
times = st.lists(st.integers(0, 5).map(float), max_size=20).map(sorted)


def written(folder: Path, *lines: str, name: str = "trace.csv") -> Path:
    file = folder / name
    text = "\n".join([*lines, ""]).encode()
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


def refused(folder: Path, *lines: str) -> list[str]:
    """What is said about these lines, without the folder."""
    with pytest.raises(ProblemsFound) as refusal:
        read_trace(written(folder, *lines))
    return [str(problem).removeprefix(f"{folder}/") for problem in refusal.value.problems]


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_columns_are_found_by_name_and_unknown_ones_ignored(tmp_path: Path, name: str) -> None:
    file = written(
        tmp_path,
        "output_tokens,model,colour,arrival_s,tenant,input_tokens,intent",
        "5,m,red,0.25,t7,300,chat",
        "6,,,0.25,,301,",
        name=name,
    )
    assert read_trace(file) == [
        Arrival(0.25, 300, 5, tenant="t7", intent="chat", model="m"),
        Arrival(0.25, 301, 6),
    ]


def test_a_byte_order_mark_crlf_blank_lines_and_quotes_are_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(f'\ufeff{HEADER},tenant\r\n\r\n1, 2, 3,"a,b"\r\n'.encode())
    assert read_trace(file) == [Arrival(1.0, 2, 3, tenant="a,b")]


def test_a_wrong_value_is_named_with_line_column_and_remedy(tmp_path: Path) -> None:
    assert refused(tmp_path, HEADER, "0.5,10,20", "1.25,ten,0", "soon,1,1") == [
        "trace.csv:3:6: input_tokens: expected a whole number, got 'ten' "
        "(1 to 100000000; drop the row if nothing was asked or answered)",
        "trace.csv:3:10: output_tokens: expected a whole number, got '0' "
        "(1 to 100000000; drop the row if nothing was asked or answered)",
        "trace.csv:4:1: arrival_s: expected seconds from the start of the trace, got 'soon' "
        "(0 to 31622400)",
    ]


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1700000000", "2024-01-01"])
def test_a_time_is_seconds_from_the_start(tmp_path: Path, text: str) -> None:
    (said,) = refused(tmp_path, HEADER, f"{text},1,1")
    assert said.startswith("trace.csv:2:1: arrival_s: expected seconds from the start")


@pytest.mark.parametrize("text", ["", "1.5", "-3", "0", "100000001", "x" * 99])
def test_a_number_of_tokens_is_whole_and_at_least_one(tmp_path: Path, text: str) -> None:
    (said,) = refused(tmp_path, HEADER, f"0,{text},1")
    assert said.startswith("trace.csv:2:3: input_tokens: expected a whole number")
    assert len(said) < 200


def test_a_row_out_of_order_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, HEADER, "1,1,1", "3,1,1", "2.5,1,1", "3,1,1") == [
        "trace.csv:4:1: arrival_s: 2.5 comes before 3, the row above (sort the rows by arrival_s)"
    ]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    (said,) = refused(tmp_path, f"{HEADER},tenant", '0,1,1,"two\nlines"', "", "0,0,1,x")
    assert said.startswith("trace.csv:5:3: ")


def test_a_row_of_another_width_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, HEADER, "1,2,3,4") == [
        "trace.csv:2:1: the row has 4 values, the header 3 (a value with a comma in it needs quotes)"
    ]


def test_a_missing_column_is_named_with_its_nearest_spelling(tmp_path: Path) -> None:
    assert refused(tmp_path, "arrivals,input_tokens,output_tokens,output_tokens") == [
        "trace.csv:1:1: arrival_s: there is no such column (did you mean 'arrivals'?)",
        "trace.csv:1:1: output_tokens: two columns have this name (rename one)",
    ]


@pytest.mark.parametrize("lines", [(), (HEADER,), (HEADER, "", "")])
def test_a_trace_without_requests_is_refused(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert refused(tmp_path, *lines)


def test_only_so_many_problems_are_told(tmp_path: Path) -> None:
    assert len(refused(tmp_path, HEADER, *["0,0,1"] * 99)) == trace.MAX_PROBLEMS


def test_a_trace_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_ROWS", 3)
    assert len(read_trace(written(tmp_path, HEADER, *["0,1,1"] * 3))) == 3
    assert refused(tmp_path, HEADER, *["0,1,1"] * 9) == [
        "trace.csv:5:1: more than 3 rows (cut the trace)"
    ]


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08", gzip.compress(b"arrival_s" * 99)[:-9], b"not gzip", b""]
)
def test_a_broken_archive_is_a_problem_of_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "trace.csv.gz"
    file.write_bytes(content)
    with pytest.raises(ProblemsFound, match=r"trace\.csv\.gz:1:1: "):
        read_trace(file)


def test_what_is_not_text_is_a_problem_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProblemsFound, match="this is not CSV in UTF-8"):
        read_trace(file)
    with pytest.raises(ProblemsFound, match=r"none\.csv:1:1: No such file"):
        read_trace(tmp_path / "none.csv")


def test_stretching_multiplies_times_and_nothing_else() -> None:
    arrivals = [Arrival(2.0, 3, 4, "t", "i", "m"), Arrival(6.0, 5, 6)]
    assert stretched(arrivals, 0.5) == [Arrival(1.0, 3, 4, "t", "i", "m"), Arrival(3.0, 5, 6)]


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_trace_cannot_be_stretched_by_nothing(factor: float) -> None:
    with pytest.raises(ValueError, match="factor above 0"):
        stretched([], factor)


@given(first=times, second=times)
def test_merging_keeps_every_request_in_time_order(first: list[float], second: list[float]) -> None:
    a = [Arrival(at_s, 1, 1, tenant="a") for at_s in first]
    b = [Arrival(at_s, 1, 1, tenant="b") for at_s in second]
    assert merged(a, b) == sorted([*a, *b], key=lambda arrival: arrival.arrival_s)
