"""An admission queue with short words for what happens at it, for the tests of `policies.admission`."""

from collections.abc import Iterable

from policies.admission import AdmissionQueue, AdmissionSettings, Admit, Effect, Refuse
from policies.lines import Ticket
from policies.prefill import MIN_SAMPLES


class Door:
    """A queue, and short words for what happens at it."""

    def __init__(
        self,
        limit: int = 1,
        max_waiting: int = 10,
        timeout_s: float = 1000.0,
        max_tasks: int = 10,
    ) -> None:
        self.settings = AdmissionSettings(
            limit=limit, max_waiting=max_waiting, timeout_s=timeout_s, max_tasks=max_tasks
        )
        self.queue = AdmissionQueue(self.settings)

    def offer(
        self,
        request: int,
        now_s: float = 0.0,
        *,
        priority: int = 0,
        lane: str = "m",
        caller: str = "",
        weight: float = 1.0,
        prompt_tokens: int = 0,
        deadline_s: float | None = None,
        patient: bool = False,
        timeout_s: float | None = None,
        accepted: bool = False,
    ) -> list[Effect]:
        ticket = Ticket(
            request=request,
            lane=lane,
            priority=priority,
            caller=caller,
            weight=weight,
            prompt_tokens=prompt_tokens,
            deadline_s=deadline_s,
            patient=patient,
            timeout_s=timeout_s,
            accepted=accepted,
        )
        return self.queue.offer(ticket, now_s)

    def done(self, request: int, now_s: float = 0.0) -> list[int]:
        return admitted(self.queue.done(request, now_s))

    def knows_prefill(self, ttft_s: float, lane: str = "m", samples: int = MIN_SAMPLES) -> None:
        """As if so many requests had had their first token after that long."""
        for _ in range(samples):
            self.queue.lane(lane).prefill.learn(100, ttft_s)

    def serves(self, every_s: float, times: int = 20, lane: str = "m") -> float:
        """One place of the lane is passed on every so many seconds, and somebody always waits. Leaves
        request 0 running and nobody waiting. Returns what time it is."""
        self.offer(0, 0.0, lane=lane)
        now_s = 0.0
        for number in range(1, times + 1):
            self.offer(-number, now_s, lane=lane)
            if number == times:
                self.offer(-number - 1, now_s, lane=lane)
            now_s += every_s
            self.queue.done(0 if number == 1 else 1 - number, now_s)
        self.queue.cancel(-times - 1, now_s)
        self.queue.done(-times, now_s)
        self.offer(0, now_s, lane=lane)
        return now_s


def admitted(effects: Iterable[Effect]) -> list[int]:
    return [effect.request for effect in effects if isinstance(effect, Admit)]


def refusals(effects: Iterable[Effect]) -> list[tuple[int, str]]:
    return [(effect.request, effect.reason) for effect in effects if isinstance(effect, Refuse)]
