"""Counters and histograms as Prometheus sees them."""

import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client import Counter as TheirCounter
from prometheus_client import Histogram as TheirHistogram

from contracts.metrics import Metric
from gateway.instruments import CounterFamily, HistogramFamily

pytestmark = pytest.mark.req("OPS-2")
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped
VALUES = (0.0, 0.005, 0.0050001, 0.01, 3.7, 1e9)
ODD = 'a"b\\c\nd'


def counter(*labels: str) -> Metric:
    return Metric(name="things_total", kind="counter", help="Some\nthings.", labels=labels)


def histogram(*labels: str) -> Metric:
    return Metric(
        name="time_seconds", kind="histogram", help="It.", labels=labels, buckets=(0.005, 1.0, 1e7)
    )


def shown(family: CounterFamily | HistogramFamily) -> bytes:
    registry = CollectorRegistry()
    registry.register(family)
    return generate_latest(registry)


@pytest.mark.parametrize("labels", [(), ("b", "a")])
def test_a_counter_looks_as_the_librarys_own(labels: tuple[str, ...]) -> None:
    spec, registry = counter(*labels), CollectorRegistry()
    theirs = TheirCounter(spec.name, spec.help, spec.labels, registry=registry)
    ours = CounterFamily(spec)
    assert shown(ours) == generate_latest(registry)
    for value in VALUES:
        named = ("x", ODD)[: len(labels)]
        ours.child(*named).inc(value)
        (theirs.labels(*named) if named else theirs).inc(value)
    ours.child(*named).inc()
    (theirs.labels(*named) if named else theirs).inc()
    assert shown(ours) == generate_latest(registry)


@pytest.mark.parametrize("labels", [(), ("b", "a")])
def test_a_histogram_looks_as_the_librarys_own(labels: tuple[str, ...]) -> None:
    spec, registry = histogram(*labels), CollectorRegistry()
    theirs = TheirHistogram(
        spec.name, spec.help, spec.labels, buckets=spec.buckets, registry=registry
    )
    ours = HistogramFamily(spec)
    assert shown(ours) == generate_latest(registry)
    for number, value in enumerate(VALUES):
        named = (str(number % 2), ODD)[: len(labels)]
        ours.child(*named).observe(value)
        (theirs.labels(*named) if named else theirs).observe(value)
    assert shown(ours) == generate_latest(registry)


def test_a_child_needs_a_value_for_each_label() -> None:
    with pytest.raises(ValueError, match=r"things_total has the labels \('a', 'b'\)"):
        CounterFamily(counter("a", "b")).child("x")


def test_a_family_that_is_cleared_shows_nothing() -> None:
    family = CounterFamily(counter("a"))
    family.child("x").inc()
    family.clear()
    assert b"x" not in shown(family).replace(b"TYPE", b"")
