"""The metrics contract: Prometheus' naming rules, and the page that shows it."""

import re
from pathlib import Path

import pytest

from contracts.metrics import METRICS, Metric, as_markdown

pytestmark = pytest.mark.req("OPS-2")
ROOT = Path(__file__).parents[2]
LABELS = {
    "operation",
    "model",
    "intent",
    "status",
    "engine",
    "engine_version",
    "pool",
    "endpoint",
    "direction",
    "outcome",
    "rule",
    "verdict",
    "version",
    "standing",
    "state",
    "objective",
    "rung",
    "kind",
    "key",
    "budget",
    "reason",
}
"""Every label is a closed set or the operator's own names. What clients write must not be one."""
UNITS = {"counter": ("_total",), "histogram": ("_seconds",), "gauge": ()}


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_a_metric_follows_the_naming_rules(metric: Metric) -> None:
    assert re.fullmatch(r"setpoint_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith(UNITS[metric.kind] or metric.name)
    if metric.kind == "gauge":
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert metric.help.endswith(".")
    assert set(metric.labels) <= LABELS
    assert len(set(metric.labels)) == len(metric.labels)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert ("engine_version" in metric.labels) <= ("engine" in metric.labels)


def test_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_page_lists_what_the_contract_says() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text("utf-8") == as_markdown()


def test_no_cell_of_the_page_breaks_its_table() -> None:
    rows = [line for line in as_markdown().splitlines() if line.startswith("| `")]
    assert [row.count("|") for row in rows] == [5] * len(METRICS)
