"""What the endpoint picker knows of its pods: their metrics, as old as the last scrape. Pure.

Scrapes happen at `started_s + k * interval_s`, and cost nothing while nobody looks: what a pod holds
changes only when `look` is called before the change, so what is read at the first look after a tick
is what a scrape at that tick would have found. With interval 0, and where neither a queue nor
sheddable requests depend on it, everything is always of now.
"""

from collections.abc import Sequence
from math import floor, inf
from typing import Protocol

import msgspec

from adapters.fakellmd.epp_settings import EppSettings


class Pod(Protocol):
    """The part of an engine that its `/metrics` tells."""

    @property
    def running(self) -> int: ...

    @property
    def waiting(self) -> int: ...

    def kv_usage(self, now_s: float) -> float: ...


class PodMetrics(msgspec.Struct, frozen=True):
    """One pod's metrics, as they were at `at_s`."""

    at_s: float
    running: int
    waiting: int
    kv_usage: float


class Scrapes:
    """The metrics of all pods of a pool, also of those that are down: who may be chosen is not
    decided here. Times never go back."""

    def __init__(self, pods: Sequence[Pod], settings: EppSettings, *, started_s: float) -> None:
        self._pods = pods
        self._started_s = started_s
        self._seen: list[PodMetrics] = []
        self.reconfigure(started_s, settings)

    def reconfigure(self, now_s: float, settings: EppSettings) -> None:
        """Begins with a fresh scrape, unless scrapes are paused and one was there before."""
        self._interval_s = settings.scrape_interval_s
        self._paused = settings.scrape_paused
        if not self._paused or not self._seen:
            self._scrape(now_s)
        watched = settings.watches_pods and self._interval_s > 0
        self._live = not watched and not self._paused
        self._next_s = self._tick_after(now_s) if watched and not self._paused else inf

    def look(self, now_s: float) -> None:
        """Call it before anything changes in a pod."""
        if now_s < self._next_s:
            return
        due_s = self._tick_after(now_s)
        self._scrape(due_s - self._interval_s)
        self._next_s = due_s

    def read(self, now_s: float) -> list[PodMetrics]:
        """What is known of each pod, in their order."""
        if self._live:
            self._scrape(now_s)
        else:
            self.look(now_s)
        return self._seen

    def next_s(self) -> float:
        """The next scrape; inf where there is none to wait for."""
        return self._next_s

    def _tick_after(self, now_s: float) -> float:
        # The small share of a tick stands for rounding: a timer armed for a tick must not miss it.
        ticks = floor((now_s - self._started_s) / self._interval_s + 1e-6) + 1
        return self._started_s + ticks * self._interval_s

    def _scrape(self, at_s: float) -> None:
        self._seen = [
            PodMetrics(at_s, pod.running, pod.waiting, pod.kv_usage(at_s)) for pod in self._pods
        ]
