"""A whole run: the same inputs give the same bytes, whoever controls it."""

import re
from pathlib import Path

import msgspec
import pytest

from gateway.simulation.drift import parse_drift
from gateway.simulation.plan import Plan, loaded_to
from gateway.simulation.rivals import Rival, make_rival
from gateway.simulation.run import Result, run, save
from gateway.simulation.trace import merged
from gateway.simulation.traffic import poisson
from tests.fakes.simulated import TWO_MODELS, plan_of, requests

pytestmark = pytest.mark.req("INT-12")
POLICIES = """\
intents:
  - name: chat
    match: {header: {x-intent: chat}, default: true}
    objectives: {ttft_p95: 500ms, tpot_p95: 50ms}
    priority: 10
    ladder: [order, hold_back, {switch_model: small}, shed]
  - {name: batch, match: {header: {x-intent: batch}}, priority: -10}
"""


def busy(folder: Path, **more: object) -> Plan:
    """Two classes of two callers, overloaded, with a drift and a jitter."""
    arrivals = merged(
        poisson(4.0, 30.0, 1, output=(3.0, 0.5), intent="chat", tenant="a"),
        poisson(4.0, 30.0, 2, output=(3.0, 0.5), intent="chat", tenant="b"),
        poisson(4.0, 30.0, 3, output=(3.0, 0.5), intent="batch", tenant="a"),
    )
    config = TWO_MODELS.replace(
        "prefill_overhead", "inter_token_latency_std_dev: 3ms, prefill_overhead"
    )
    drifts = (parse_drift("at=15s,itl=1.5x"),)
    plan = plan_of(folder, arrivals, config=config, policies=POLICIES, drifts=drifts, **more)
    return loaded_to(plan, 2.0)


def files_of(result: Result, folder: Path) -> tuple[bytes, bytes]:
    folder.mkdir()
    rows, summary = folder / "rows.csv", folder / "result.json"
    save(result, rows=rows, summary=summary)
    return rows.read_bytes(), re.sub(rb'"wall_s": [0-9.]+', b'"wall_s": 0', summary.read_bytes())


@pytest.mark.req("INT-2")
@pytest.mark.parametrize(
    "controller", ["setpoint", "none", "static:5", "vegas", "gradient2", "envoy"]
)
def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, controller: str) -> None:
    told = [
        files_of(run(busy(tmp_path, controller=controller, seed=3)), tmp_path / str(nth))
        for nth in range(2)
    ]
    assert told[0] == told[1]
    other = files_of(run(busy(tmp_path, controller=controller, seed=4)), tmp_path / "other")
    assert other[0] != told[0][0]


@pytest.mark.req("INT-10")
def test_under_overload_setpoint_serves_more_of_its_promise_than_nothing_does(
    tmp_path: Path,
) -> None:
    good = {
        controller: run(busy(tmp_path, controller=controller)).summary.per_intent["chat"].good
        for controller in ("setpoint", "none")
    }
    assert good["setpoint"] > 3 * good["none"]


def test_every_arrival_has_a_row_and_a_fate(tmp_path: Path) -> None:
    plan = busy(tmp_path)
    result = run(plan)
    assert len(result.outcomes) == len(plan.arrivals) == result.summary.offered
    rows, summary = files_of(result, tmp_path / "out")
    assert len(rows.splitlines()) == 1 + len(plan.arrivals)
    assert msgspec.json.decode(summary)["offered"] == len(plan.arrivals)


def test_nothing_is_written_that_was_not_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    save(run(plan_of(tmp_path, requests(0.0))))
    assert list(folder.iterdir()) == []


def test_the_wall_counts_from_when_the_caller_began(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, requests(0.0))
    assert run(plan, started_s=-1000.0).summary.wall_s >= 1000.0


def test_a_rival_is_seeded_by_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []

    def make(text: str, seed: int) -> Rival:
        made.append((text, seed))
        return make_rival(text, seed)

    monkeypatch.setattr("gateway.simulation.run.make_rival", make)
    run(plan_of(tmp_path, requests(0.0), controller="vegas", seed=9))
    assert set(made) == {("vegas", 9)}


def test_an_unknown_controller_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rival is called 'vegsa'"):
        run(plan_of(tmp_path, requests(0.0), controller="vegsa"))
