"""The expositions of all processes as one page: counts are added up, and each gauge is who knows it says.

Must stay true: a counter never goes back. What a process that is gone had counted, as far as it was shown
to anybody, stays in the sum.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from contracts.metrics import METRICS

OfGauge = Literal["hub", "sum", "max", "min"]
GAUGES: dict[str, OfGauge] = {
    "setpoint_budget_used_ratio": "max",
    "setpoint_tasks": "sum",
    "setpoint_task_readers": "sum",
    "setpoint_open_connections": "sum",
    "setpoint_records_waiting": "sum",
    "setpoint_records_spilled_bytes": "sum",
    "setpoint_records_up": "min",
    "setpoint_telemetry_up": "min",
}
"""How a gauge of the workers becomes one. Of all others the hub's is the whole's already."""
HUBS_COUNTERS = frozenset({"setpoint_policy_reloads_total", "setpoint_process_restarts_total"})
"""Every process counts the first, and means the same event; of the second a new hub is told."""
_KIND = {metric.name: metric.kind for metric in METRICS}
Samples = dict[str, float]
"""By the sample's name and labels, as the page spells them."""
Page = dict[str, Samples]
"""By family, in the order of the page."""


def parsed(text: str) -> Page:
    """A page that `gateway.metrics` has written."""
    page: Page = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            sample, _, value = line.rpartition(" ")
            page.setdefault(_family(sample), {})[sample] = float(value)
    return page


def _family(sample: str) -> str:
    name = sample.partition("{")[0]
    if name in _KIND:
        return name
    return name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")


class _Kept(msgspec.Struct):
    """What must outlive a process: what those that are gone had counted, and the last page of each that is
    not, with its process id."""

    departed: Page = {}
    hub: Page = {}
    workers: dict[int, tuple[int, Page]] = {}


class MergedMetrics:
    """`told` by every process that answers; `joined` and `gone` as they come and go. What was shown is kept
    in `file`, so that the next hub goes on from there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            self._kept = _Kept()
        self._depart(self._kept.hub)
        self._kept.hub = {}

    def joined(self, worker: int, pid: int) -> None:
        """A worker is here, perhaps another process than the one before."""
        before = self._kept.workers.get(worker)
        if before is None or before[0] != pid:
            self.gone(worker)
            self._kept.workers[worker] = (pid, {})

    def told(self, worker: int, page: Page) -> None:
        """What a worker shows now."""
        if (known := self._kept.workers.get(worker)) is not None:
            self._kept.workers[worker] = (known[0], page)

    def gone(self, worker: int) -> None:
        """Its counts stay, its gauges do not."""
        _, page = self._kept.workers.pop(worker, (0, {}))
        self._depart(page)

    def _depart(self, page: Page) -> None:
        for family, samples in page.items():
            if _KIND.get(family) != "gauge" and family not in HUBS_COUNTERS:
                _add(self._kept.departed.setdefault(family, {}), samples)

    def text(self, hub: str) -> str:
        """The page of the whole. `hub` is the hub's own, whose order and words are kept. Blocking: it
        writes a file."""
        own = self._kept.hub = parsed(hub)
        self._keep()
        lines: list[str] = []
        for head in _heads(hub):
            lines += head
            family = head[0].split(" ")[2]
            pages = [self._kept.departed, *(page for _, page in self._kept.workers.values())]
            samples = _merged(family, own.get(family, {}), [p.get(family, {}) for p in pages])
            lines += [f"{sample} {_spelled(value)}" for sample, value in samples.items()]
        return "\n".join([*lines, ""])

    def _keep(self) -> None:
        """Whole or not at all."""
        beside = self._file.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self._kept))
        beside.replace(self._file)


def _heads(text: str) -> Iterable[list[str]]:
    """HELP and TYPE of each family."""
    heads = [line for line in text.splitlines() if line.startswith("#")]
    return [heads[at : at + 2] for at in range(0, len(heads), 2)]


def _merged(family: str, own: Samples, workers: list[Samples]) -> Samples:
    kind = _KIND.get(family)
    rule = GAUGES.get(family, "hub") if kind == "gauge" else "sum"
    if rule == "hub" or family in HUBS_COUNTERS:
        return own
    if kind == "gauge":
        return _gauge(rule, [samples for samples in workers if samples])
    total: Samples = dict(own)
    for samples in workers:
        _add(total, samples)
    return total


def _gauge(rule: OfGauge, workers: list[Samples]) -> Samples:
    found: Samples = {}
    for samples in workers:
        for name, value in samples.items():
            before = found.get(name)
            if before is None:
                found[name] = value
            elif rule == "sum":
                found[name] = before + value
            else:
                found[name] = max(before, value) if rule == "max" else min(before, value)
    return found


def _add(total: Samples, more: Samples) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0.0) + value


def _spelled(value: float) -> str:
    """As the client library writes it."""
    return repr(value)
