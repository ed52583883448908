"""Drifts as an operator writes them, and what they do to engines."""

import pytest

from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from contracts.catalog import Catalog, ModelCard
from gateway.simulation.drift import DriftAsked, drifted, parse_drift

pytestmark = pytest.mark.req("INT-12")

CATALOG = Catalog(
    models={
        name: ModelCard(name=name, pool="sim", upstream=upstream)
        for name, upstream in (("big", "B"), ("alias", "B"), ("small", "S"), ("far", "F"))
    }
)
ENGINES = {
    ("sim", upstream): LlmdSettings(
        models=(ServedModel(name=upstream),), latency=Latency(inter_token_latency_s=gap_s)
    )
    for upstream, gap_s in (("B", 0.02), ("S", 0.01))
}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("at=180s,itl=1.5x", DriftAsked(at_s=180.0, itl_times=1.5)),
        ("itl=16ms, at=3m", DriftAsked(at_s=180.0, itl_s=0.016)),
        ("at=0,factor=4,model=big", DriftAsked(at_s=0.0, factor=4.0, model="big")),
        ("at=1h,itl=.5x,factor=1", DriftAsked(at_s=3600.0, itl_times=0.5, factor=1.0)),
    ],
)
def test_a_drift_is_read(text: str, asked: DriftAsked) -> None:
    assert parse_drift(text) == asked


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is not understood"),
        ("at=180s", "neither itl nor factor"),
        ("itl=2x", "at is missing"),
        ("at=180,itl=2x", "at: expected a duration"),
        ("at=2d,itl=2x", "at: '2d' is more than 1d"),
        ("at=1s,itl=2", "itl: expected 1.5x or a duration such as 18ms, got '2'"),
        ("at=1s,itl=0x", "itl: expected a factor such as 1.5x, got '0x'"),
        ("at=1s,itl=nanx", "itl: expected a factor such as 1.5x, got 'nanx'"),
        ("at=1s,itl=0s", "itl: expected 1us to 1d"),
        ("at=1s,factor=0.5", "factor: expected a number from 1"),
        ("at=1s,factor=inf", "factor: expected a number from 1"),
        ("at=1s,ilt=2x", "'ilt=2x' is not understood"),
        ("at=1s,itl=2x,itl=3x", "itl is given twice"),
        ("at=1s,itl=", "'itl=' is not understood"),
    ],
)
def test_a_wrong_drift_says_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="^" + told.replace("(", r"\(")):
        parse_drift(text)


def gaps(*texts: str) -> dict[str, list[tuple[float, float | None]]]:
    made = drifted(ENGINES, [parse_drift(text) for text in texts], CATALOG)
    return {
        lane[1]: [(drift.at_s, drift.inter_token_latency_s) for drift in told.drift]
        for lane, told in made.items()
    }


def test_a_drift_without_a_model_is_every_engines() -> None:
    assert gaps("at=1s,itl=1.5x") == {"B": [(1.0, 0.03)], "S": [(1.0, 0.015)]}


@pytest.mark.parametrize("name", ["big", "alias"])
def test_a_drift_of_a_model_is_its_engines(name: str) -> None:
    assert gaps(f"at=1s,itl=16ms,model={name}") == {"B": [(1.0, 0.016)], "S": []}


def test_a_factor_is_of_the_start_and_not_of_the_drift_before() -> None:
    assert gaps("at=1s,itl=2x,model=big", "at=2s,itl=1x,model=big")["B"] == [
        (1.0, 0.04),
        (2.0, 0.02),
    ]


def test_what_a_drift_does_not_name_stays() -> None:
    made = drifted(ENGINES, [parse_drift("at=1s,factor=5")], CATALOG)
    (drift,) = made["sim", "B"].drift
    assert drift.applied_to(Latency(inter_token_latency_s=0.02)) == Latency(
        inter_token_latency_s=0.02, time_factor_under_load=5.0
    )


@pytest.mark.parametrize(("name", "hint"), [("bigg", "did you mean 'big'?"), ("far", "known: ")])
def test_a_drift_of_what_is_not_simulated_is_wrong(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match="no model") as caught:
        gaps(f"at=1s,itl=2x,model={name}")
    assert hint in str(caught.value)


def test_a_drift_is_told_in_words() -> None:
    assert parse_drift("at=1s,itl=1.5x,factor=3").words == "itl 1.5x, factor 3"
    assert parse_drift("at=1s,itl=16ms,model=big").words == "itl 16 ms of big"
