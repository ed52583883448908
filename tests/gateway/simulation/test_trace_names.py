"""Names in a trace that mean nothing are told with their lines."""

import gzip
from pathlib import Path

import pytest

from contracts.problems import ProblemsFound
from gateway.simulation.trace import read_trace
from gateway.simulation.trace_names import check_names

pytestmark = pytest.mark.req("INT-12")
HEADER = "arrival_s,input_tokens,output_tokens,intent,model\n"


def complaints(path: Path) -> list[str]:
    arrivals = read_trace(path)
    try:
        check_names(path, arrivals, {"chat": 1, "batch": 2}, ["big"])
    except ProblemsFound as exc:
        return [str(problem).replace(str(path), "T") for problem in exc.problems]
    return []


def test_names_that_exist_and_empty_ones_are_right(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + "0,1,1,chat,big\n1,1,1,,\n2,1,1,batch,\n")
    assert complaints(path) == []


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_each_wrong_name_is_told_once_where_it_comes_first(tmp_path: Path, name: str) -> None:
    text = HEADER + '0,1,1,chat,big\n\n1,1,1,"cha\nt",bigg\n2,1,1,chta,bigg\n3,1,1,chta,bigg\n'
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert complaints(path) == [
        "T:5:1: intent: there is no intent 'cha\\nt' (did you mean 'chat'?)",
        "T:5:1: model: there is no model 'bigg' that is simulated (did you mean 'big'?)",
        "T:6:1: intent: there is no intent 'chta' (did you mean 'chat'?)",
    ]
