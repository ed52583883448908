"""Where traffic comes from. A trace file is read and checked in `test_trace.py` and `test_trace_names.py`."""

from pathlib import Path

import pytest

from contracts.problems import ProblemsFound
from gateway.configuration import load
from gateway.policy_files import load_policies
from gateway.simulation.traffic_source import TraceFile, Traffic
from tests.fakes.simulated import files, requests

HEADER = "arrival_s,input_tokens,output_tokens,model\n"


def read(folder: Path, rows: str) -> Traffic:
    path = folder / "trace.csv"
    path.write_text(HEADER + rows)
    config = load(files(folder), env={})
    policy = load_policies(config.policies_path, config.catalog, {})
    return TraceFile(path).read(config, policy, config.catalog)


def test_a_trace_is_taken_whole_and_named_by_its_path(tmp_path: Path) -> None:
    traffic = read(tmp_path, "0,100,11,\n2,100,11,big\n")
    assert traffic.arrivals == [*requests(0.0), *requests(2.0, model="big")]
    assert (traffic.kind, traffic.name) == ("trace", str(tmp_path / "trace.csv"))
    assert traffic.notes == ()


def test_a_model_that_is_not_simulated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match="there is no model 'huge' that is simulated"):
        read(tmp_path, "0,100,11,huge\n")
