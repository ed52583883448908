"""The queue in front of one pool: who goes next, who is told to come back later. Sans-IO.

Must stay true: every offered request meets exactly one fate (admitted, refused or cancelled);
nothing is admitted while in-flight >= limit (the limit may drop below it); higher priority first,
first come first served within one. Effects are values; the shell carries them out in order.
Which number the limit should be is not decided here.
"""

import heapq
from typing import Literal

import msgspec

DRAIN_ALPHA = 0.3
"""Weight of the newest completion in the measured drain interval."""
RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0


class AdmissionSettings(msgspec.Struct, frozen=True, kw_only=True):
    limit: int
    max_waiting: int
    timeout_s: float


class Admit(msgspec.Struct, frozen=True):
    """Dispatch it now; call `done` when it has ended, however it ends."""

    request: int
    waited_s: float


class Refuse(msgspec.Struct, frozen=True):
    """Tell the client to come back in `retry_after_s`."""

    request: int
    reason: Literal["queue_full", "queue_timeout"]
    retry_after_s: float


Effect = Admit | Refuse


class _Waiting(msgspec.Struct):
    priority: int
    arrived_s: float


class AdmissionQueue:
    """Times are seconds on one monotonic clock, never going back. Request numbers are the caller's,
    unique among those not yet ended."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        self._order: list[tuple[int, int, int]] = []  # (-priority, sequence, request)
        self._expiry: list[tuple[float, int]] = []  # (arrived_s, request)
        self._waiting: dict[int, _Waiting] = {}
        self._running: set[int] = set()
        self._sequence = 0
        self._last_done_s: float | None = None
        self._drain_interval_s: float | None = None

    @property
    def inflight(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def settings(self) -> AdmissionSettings:
        return self._settings

    def configure(self, settings: AdmissionSettings, now_s: float) -> list[Effect]:
        """New bounds; nobody who waits is dropped by a smaller queue."""
        self._settings = settings
        return self.wake(now_s)

    def offer(self, request: int, priority: int, now_s: float) -> list[Effect]:
        """A request arrives. Its own fate may be among the effects, or come later."""
        effects = self.wake(now_s)
        if not self._waiting and self.inflight < self._settings.limit:
            self._running.add(request)
            effects.append(Admit(request, 0.0))
        elif self.waiting >= self._settings.max_waiting:
            effects.append(Refuse(request, "queue_full", self.retry_after_s()))
        else:
            self._sequence += 1
            self._waiting[request] = _Waiting(priority, now_s)
            heapq.heappush(self._order, (-priority, self._sequence, request))
            heapq.heappush(self._expiry, (now_s, request))
        return effects

    def done(self, request: int, now_s: float) -> list[Effect]:
        """A running request has ended; its slot goes to the next."""
        if request in self._running:
            self._running.remove(request)
            self._measure(now_s)
        return self.wake(now_s)

    def cancel(self, request: int, now_s: float) -> list[Effect]:
        """The client left. Waiting or running, its place is free; nothing more is said of it."""
        self._waiting.pop(request, None)
        self._running.discard(request)
        return self.wake(now_s)

    def wake(self, now_s: float) -> list[Effect]:
        """Refuse who has waited too long, then admit whom there is room for."""
        effects: list[Effect] = []
        while self._expiry:
            arrived_s, request = self._expiry[0]
            waiting = self._waiting.get(request)
            if waiting is not None and waiting.arrived_s == arrived_s:
                if now_s - arrived_s < self._settings.timeout_s:
                    break
                del self._waiting[request]
                effects.append(Refuse(request, "queue_timeout", self.retry_after_s()))
            heapq.heappop(self._expiry)
        while self._order and self.inflight < self._settings.limit:
            _, _, request = heapq.heappop(self._order)
            waiting = self._waiting.pop(request, None)
            if waiting is not None:
                self._running.add(request)
                effects.append(Admit(request, now_s - waiting.arrived_s))
        self._compact()
        return effects

    def next_deadline_s(self) -> float | None:
        """When `wake` must be called at the latest, if nothing else happens."""
        return self._expiry[0][0] + self._settings.timeout_s if self._expiry else None

    def retry_after_s(self) -> float:
        """When a place is likely: those waiting, at the drain measured last."""
        if self._drain_interval_s is None:
            return RETRY_MIN_S
        likely_s = (self.waiting + 1) * self._drain_interval_s
        return min(max(likely_s, RETRY_MIN_S), RETRY_MAX_S)

    def _measure(self, now_s: float) -> None:
        if self._last_done_s is not None:
            interval_s = now_s - self._last_done_s
            old_s = self._drain_interval_s
            self._drain_interval_s = (
                interval_s if old_s is None else old_s + DRAIN_ALPHA * (interval_s - old_s)
            )
        self._last_done_s = now_s

    def _compact(self) -> None:
        """Entries of those who left stay in the heaps until here, so that leaving is cheap."""
        if len(self._order) > 2 * len(self._waiting) + 64:
            self._order = [entry for entry in self._order if entry[2] in self._waiting]
            heapq.heapify(self._order)
        if len(self._expiry) > 2 * len(self._waiting) + 64:
            self._expiry = [entry for entry in self._expiry if entry[1] in self._waiting]
            heapq.heapify(self._expiry)
