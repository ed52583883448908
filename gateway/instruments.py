"""Counters and histograms as plain numbers, shown to Prometheus when somebody looks.

The client library's own take five to seven calls and one or two locks to move; a request moves nine. What a
family shows is what the library's would show, to the byte.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import Metric as Shown
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from contracts.metrics import Metric

_counting = threading.Lock()


class Counter:
    """Only ever grows. May be moved on any thread."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        with _counting:
            self.value += amount


class Histogram:
    """Observations by bucket. To be moved on the event loop's thread only."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.observe_all((value,))

    def observe_all(self, values: Sequence[float]) -> None:
        bounds, counts = self._bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total = sum(values, self.total)


Child = TypeVar("Child", Counter, Histogram)


class Family(Generic[Child]):
    """All children of one metric, by the values of its labels. A metric without labels has its one child from
    the start, of others a child is shown once it was asked for."""

    def __init__(self, spec: Metric, make: Callable[[], Child]) -> None:
        self.spec = spec
        self._make: Callable[[], Child] = make
        self.children: dict[tuple[str, ...], Child] = {}
        if not spec.labels:
            self.child()

    def child(self, *labels: str) -> Child:
        """Raises ValueError unless there is a value for each label."""
        if len(labels) != len(self.spec.labels):
            raise ValueError(f"{self.spec.name} has the labels {self.spec.labels}, not {labels}")
        found = self.children.get(labels)
        if found is None:
            found = self.children[labels] = self._make()
        return found

    def clear(self) -> None:
        self.children.clear()


class CounterFamily(Family[Counter]):
    """A collector of `prometheus_client`'s, as the other one."""

    def __init__(self, spec: Metric) -> None:
        super().__init__(spec, Counter)

    def collect(self) -> Iterator[Shown]:
        shown = CounterMetricFamily(self.spec.name, self.spec.help, labels=self.spec.labels)
        for labels, counter in self.children.items():
            shown.add_metric(labels, counter.value)
        yield shown


class HistogramFamily(Family[Histogram]):
    def __init__(self, spec: Metric) -> None:
        super().__init__(spec, lambda: Histogram(spec.buckets))
        bounds = (*spec.buckets, float("inf"))
        self._names: list[str] = [floatToGoString(b) for b in bounds]  # type: ignore[no-untyped-call]  # theirs

    def collect(self) -> Iterable[Shown]:
        shown = HistogramMetricFamily(self.spec.name, self.spec.help, labels=self.spec.labels)
        for labels, histogram in self.children.items():
            buckets = list(zip(self._names, accumulate(histogram.counts), strict=True))
            shown.add_metric(labels, buckets, histogram.total)
        yield shown
