"""One page for all processes: sums that never go back, and gauges by who knows them."""

from pathlib import Path

import pytest

from contracts.metrics import METRICS
from gateway.metrics import Metrics
from gateway.workers.merged_metrics import GAUGES, MergedMetrics, parsed
from tests.support.exposition import Exposition

pytestmark = pytest.mark.req("OPS-2")
NAME = "setpoint_client_disconnects_total"


def page(disconnects: int = 0, connections: int = 0, up: int = 1) -> Metrics:
    metrics = Metrics("1")
    if disconnects:
        metrics.counter(NAME, "chat").inc(disconnects)
        metrics.histogram("setpoint_queue_seconds", 'a "pool"').observe(0.3 * disconnects)
    metrics.gauge("setpoint_open_connections").set(connections)
    metrics.gauge("setpoint_records_up").set(up)
    return metrics


def text(metrics: Metrics) -> str:
    return metrics.exposition().decode()


def merging(folder: Path, *workers: int) -> MergedMetrics:
    merged = MergedMetrics(folder / "metrics")
    for worker in workers:
        merged.joined(worker, 100 + worker)
    return merged


def test_counts_are_added_up_and_gauges_are_what_they_mean(tmp_path: Path) -> None:
    merged = merging(tmp_path, 0, 1)
    merged.told(0, parsed(text(page(2, connections=3))))
    merged.told(1, parsed(text(page(5, connections=4, up=0))))
    hub = Metrics("1")
    hub.gauge("setpoint_workers").set(2)
    shown = Exposition(merged.text(text(hub)))
    assert shown.total(NAME, operation="chat") == 7
    assert shown.total("setpoint_queue_seconds_count") == 2
    assert shown.total("setpoint_queue_seconds_sum") == pytest.approx(2.1)
    assert shown.total("setpoint_queue_seconds_bucket", le="+Inf", pool='a "pool"') == 2
    assert shown.total("setpoint_open_connections") == 7
    assert shown.total("setpoint_records_up") == 0
    assert shown.total("setpoint_workers") == 2
    assert shown.total("setpoint_build_info") == 1


def test_a_counter_never_goes_back(tmp_path: Path) -> None:
    merged = merging(tmp_path, 0)
    merged.told(0, parsed(text(page(2, connections=3))))
    merged.gone(0)
    merged.gone(0)
    shown = Exposition(merged.text(text(Metrics("1"))))
    assert (shown.total(NAME), shown.total("setpoint_open_connections")) == (2, 0)
    merged.joined(0, 200)
    merged.told(0, parsed(text(page(1))))
    assert Exposition(merged.text(text(Metrics("1")))).total(NAME) == 3


def test_another_hub_goes_on_from_what_was_shown_last(tmp_path: Path) -> None:
    merged = merging(tmp_path, 0, 1)
    merged.told(0, parsed(text(page(2))))
    merged.told(1, parsed(text(page(3))))
    hub = Metrics("1")
    hub.counter("setpoint_decisions_total", "i", "climb", "order").inc(4)
    merged.text(text(hub))
    another = MergedMetrics(tmp_path / "metrics")
    another.joined(0, 100)  # it lives on
    another.joined(1, 300)  # it died while there was no hub
    another.told(0, parsed(text(page(2))))
    shown = Exposition(another.text(text(Metrics("1"))))
    assert shown.total(NAME) == 5
    assert shown.total("setpoint_decisions_total") == 4


def test_every_gauge_of_the_workers_is_known() -> None:
    kinds = {metric.name: metric.kind for metric in METRICS}
    assert {kinds[name] for name in GAUGES} == {"gauge"}
