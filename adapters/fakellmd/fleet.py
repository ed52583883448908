"""The replicas behind one address, and which of them gets a sequence. Pure.

The least loaded replica that is alive wins, the lower number breaks ties, so a run can be
repeated. A job stays where it was placed.
"""

import msgspec

from adapters.fakellmd.model import Admission, Done, EngineEvent, EngineModel, Job, Lost
from adapters.fakellmd.settings import LlmdSettings


class Placement(msgspec.Struct, frozen=True):
    """Where a job went (`replica` counts from 0; None where none is alive) and what became of it."""

    replica: int | None
    admission: Admission


class Fleet:
    """`settings.replicas` engines for each of `settings.models`. Same rules of time as `EngineModel`."""

    def __init__(self, settings: LlmdSettings, *, started_s: float = 0.0) -> None:
        self.engines: dict[str, list[EngineModel]] = {
            model.name: [
                EngineModel(settings, model.name, started_s=started_s)
                for _ in range(settings.replicas)
            ]
            for model in settings.models
        }
        self._all = [engine for replicas in self.engines.values() for engine in replicas]
        self._home: dict[int, EngineModel] = {}
        self._down: set[tuple[str, int]] = set()
        self._lose_pods(started_s, settings)

    def submit(
        self, now_s: float, model: str, job: Job, *, replica: int | None = None
    ) -> Placement:
        """Place a job on the least loaded replica, or on the one that is named.

        Raises KeyError for an unknown model, ValueError for an id that is live.
        """
        if job.id in self._home:
            raise ValueError(f"job {job.id} is live already")
        replicas = self.engines[model]
        if replica is None:
            for engine in replicas:
                engine.run_until(now_s)
            replica = self._least_loaded(replicas)
        if replica is None:
            return Placement(None, "down")
        engine = replicas[replica]
        admission = engine.submit(now_s, job)
        if admission in ("running", "waiting"):
            self._home[job.id] = engine
        return Placement(replica, admission)

    def cancel(self, job_id: int, now_s: float) -> bool:
        """Forget a job. False: it had met its fate already."""
        engine = self._home.pop(job_id, None)
        return engine is not None and engine.cancel(job_id, now_s)

    def progress(self, job_id: int, now_s: float) -> tuple[int, float]:
        """As `EngineModel.progress`, wherever the job is."""
        engine = self._home.get(job_id)
        return (0, now_s) if engine is None else engine.progress(job_id, now_s)

    def reconfigure(self, now_s: float, settings: LlmdSettings) -> None:
        """New settings for every engine. The models and the number of replicas must be the same."""
        for engine in self._all:
            engine.reconfigure(now_s, settings)
        self._lose_pods(now_s, settings)

    def advance(self, now_s: float) -> list[EngineEvent]:
        """Everything that happened in any engine up to `now_s`, in time order."""
        batches = [batch for engine in self._all if (batch := engine.advance(now_s))]
        if len(batches) == 1:
            events = batches[0]
        else:
            events = sorted((e for batch in batches for e in batch), key=lambda e: e.at_s)
        for event in events:
            if isinstance(event, Done | Lost):
                self._home.pop(event.job_id, None)
        return events

    def next_event_s(self) -> float | None:
        """When something happens next in any engine. None: never."""
        times = [at_s for engine in self._all if (at_s := engine.next_event_s()) is not None]
        return min(times, default=None)

    def _lose_pods(self, now_s: float, settings: LlmdSettings) -> None:
        """Those that are newly listed as down fail, those that are listed no more come back."""
        down = {
            (model, replica)
            for model, replicas in settings.pods_down.items()
            for replica in replicas
        }
        for model, replica in sorted(down - self._down):
            self.engines[model][replica].fail(now_s)
        for model, replica in sorted(self._down - down):
            self.engines[model][replica].recover()
        self._down = down

    def _least_loaded(self, replicas: list[EngineModel]) -> int | None:
        alive = [number for number, engine in enumerate(replicas) if engine.alive]
        load = [engine.running + engine.waiting for engine in replicas]
        return min(alive, key=load.__getitem__, default=None)
