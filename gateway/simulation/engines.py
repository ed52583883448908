"""The backends of a simulation: one fake llm-d's pure engines for each pool and model, on one clock.

No socket, no event loop, no sleeping; the engines are those that `setpoint llmd` serves.
"""

from collections.abc import Mapping

import msgspec

from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.model import Admission, EngineEvent, Job
from adapters.fakellmd.settings import LlmdSettings

Lane = tuple[str, str]
"""Pool, and the model's name there."""


class Engines:
    """Each lane's settings know that one model. A job's id is unique over all lanes."""

    def __init__(self, settings: Mapping[Lane, LlmdSettings]) -> None:
        self.settings = dict(settings)
        self._fleets = {lane: Fleet(_unbounded(told)) for lane, told in settings.items()}
        self._list = list(self._fleets.values())
        self._only = self._list[0] if len(self._list) == 1 else None

    def submit(self, now_s: float, lane: Lane, job: Job) -> Admission:
        return self._fleets[lane].submit(now_s, lane[1], job).admission

    def progress(self, lane: Lane, job_id: int, now_s: float) -> tuple[int, float]:
        """Tokens by now, and when the newest came."""
        return self._fleets[lane].progress(job_id, now_s)

    def next_event_s(self) -> float | None:
        """When something happens next in any of them. None: never."""
        if self._only is not None:
            return self._only.next_event_s()
        times = [at_s for fleet in self._list if (at_s := fleet.next_event_s()) is not None]
        return min(times, default=None)

    def advance(self, now_s: float) -> list[EngineEvent]:
        """What happened up to `now_s`, in time order; at one time in the order of the lanes."""
        if self._only is not None:
            return self._only.advance(now_s)
        batches = [batch for fleet in self._list if (batch := fleet.advance(now_s))]
        if len(batches) == 1:
            return batches[0]
        return sorted((event for batch in batches for event in batch), key=lambda e: e.at_s)

    def endpoints(self, pool: str) -> int:
        """Replicas behind a pool: those of its best furnished model."""
        return max(
            (told.replicas for lane, told in self.settings.items() if lane[0] == pool), default=1
        )


def _unbounded(settings: LlmdSettings) -> LlmdSettings:
    """An engine's own queue is unbounded, as vLLM's is by default: what overloads it must show."""
    return msgspec.structs.replace(settings, max_waiting_queue_length=None)
