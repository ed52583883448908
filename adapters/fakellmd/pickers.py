"""The endpoint pickers of a fake llm-d: one for each model, as an InferencePool serves one. Pure.

They share their settings and nothing else. What is called for every token costs a comparison where
flow control is off.
"""

from math import inf

from adapters.fakellmd.endpoint_picker import Effect, EndpointPicker, Witness
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.settings import LlmdSettings


class Pickers:
    """The same rules as `EndpointPicker`'s."""

    def __init__(
        self, fleet: Fleet, settings: LlmdSettings, witness: Witness, *, started_s: float
    ) -> None:
        self.pools = {
            model: EndpointPicker(engines, settings, witness, started_s=started_s)
            for model, engines in fleet.engines.items()
        }
        self._all = list(self.pools.values())
        self._look_s = inf
        self._queues: list[EndpointPicker] = []
        self._sort()

    def arrive(self, now_s: float, call: Call) -> list[Effect]:
        """Raises KeyError for a model that has no pool."""
        return self.pools[call.target].arrive(now_s, call)

    def placed(self, call: Call, pod: int) -> None:
        self.pools[call.target].placed(call.id, pod)

    def completed(self, now_s: float, call: Call, output_tokens: int) -> None:
        self.pools[call.target].completed(now_s, call, output_tokens)

    def release(self, now_s: float, call: Call) -> None:
        self.pools[call.target].release(now_s, call)

    def look(self, now_s: float) -> None:
        """Call it before anything changes in an engine: a scrape may be due."""
        if now_s >= self._look_s:
            for pool in self._all:
                pool.scheduler.scrapes.look(now_s)
            self._look_s = min(pool.scheduler.scrapes.next_s() for pool in self._all)

    def wake(self, now_s: float) -> list[Effect]:
        return [effect for pool in self._queues for effect in pool.wake(now_s)]

    def poke(self, now_s: float) -> None:
        """Something ended in an engine, or an engine is gone or back."""
        for pool in self._queues:
            pool.poke(now_s)

    def next_event_s(self) -> float | None:
        """When `wake` is due. None: not before something else happens."""
        if not self._queues:
            return None
        times_s = [at_s for pool in self._queues if (at_s := pool.next_event_s()) is not None]
        return min(times_s, default=None)

    def configure(self, now_s: float, settings: LlmdSettings) -> list[Effect]:
        effects = [effect for pool in self._all for effect in pool.configure(now_s, settings)]
        self._sort()
        return effects

    def shutdown(self, now_s: float) -> list[Effect]:
        return [effect for pool in self._all for effect in pool.shutdown(now_s)]

    def _sort(self) -> None:
        self._queues = [pool for pool in self._all if pool.flow is not None]
        self._look_s = min((pool.scheduler.scrapes.next_s() for pool in self._all), default=inf)
