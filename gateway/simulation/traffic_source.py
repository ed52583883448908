"""Where a simulation's traffic comes from: a trace file, or the records of a gateway.

A source is read once the engines and policies of a plan are known, since it has to fit them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from contracts.catalog import Catalog
from gateway.settings import LoadedConfig
from gateway.simulation.trace import Arrival, read_trace
from gateway.simulation.trace_names import check_names
from policies.policy_set import PolicySet


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """`notes` is what people should know of it, as sentences."""

    name: str
    """For people: which one it is."""
    kind: str
    arrivals: Sequence[Arrival]
    notes: tuple[str, ...] = ()


class TrafficSource(Protocol):
    def read(self, config: LoadedConfig, policy: PolicySet, catalog: Catalog) -> Traffic:
        """All of it, in time order; `catalog` has the models that are simulated. Raises ProblemsFound."""
        ...


class TraceFile:
    """A CSV file, as `read_trace` takes them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, config: LoadedConfig, policy: PolicySet, catalog: Catalog) -> Traffic:
        arrivals = read_trace(self._path)
        check_names(self._path, arrivals, policy.intents, catalog.models)
        return Traffic(name=str(self._path), kind="trace", arrivals=arrivals)
