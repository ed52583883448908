"""A simulated run: arrivals, a controller, engines, and one virtual clock. No asyncio, no sleeping.

Must stay true: the same arrivals, policies and seed give the same outcomes, to the byte; every arrival
meets exactly one fate. Order within one instant: engines, arrivals, the tick, the queues.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from adapters.fakellmd.draws import mix
from adapters.fakellmd.model import Done, Job, Lost, Token
from contracts.control import LoopDecision
from gateway.simulation.bodies import Asked, Body
from gateway.simulation.engines import Engines
from gateway.simulation.outcome import Outcome
from gateway.simulation.trace import Arrival
from policies.admission import AdmissionQueue, Admit, Effect
from policies.loop import TICK_S

MAX_TAIL_S = 3600.0
"""After the last arrival, how long what still runs may take; then it counts as cancelled."""


class World:
    """Run once. `watch`, if given, is called after every tick with the time."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        body: Body,
        engines: Engines,
        *,
        seed: int = 0,
        watch: Callable[[float], None] | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._body = body
        self._engines = engines
        self._seed = seed
        self._watch = watch
        self._queues = tuple(body.queues)
        self._asked: dict[int, Asked] = {}
        self._now_s = 0.0
        self.outcomes: list[Outcome] = []
        """One for each arrival, in their order."""
        self.decisions: list[LoopDecision] = []

    def run(self) -> None:
        """To the end of the last request. Nobody touches the body or the engines meanwhile."""
        arrivals, count = self._arrivals, len(self._arrivals)
        nth, ticks = 0, 1
        last_s = arrivals[-1].arrival_s + MAX_TAIL_S if arrivals else 0.0
        while nth < count or self._asked:
            tick_s = ticks * TICK_S
            due_s = self._due_s()
            now_s = self._next_s(tick_s, arrivals[nth].arrival_s if nth < count else tick_s, due_s)
            if now_s > last_s:
                break
            self._now_s = now_s
            self._engine_events(now_s)
            while nth < count and arrivals[nth].arrival_s <= now_s:
                self._arrive(nth, arrivals[nth], now_s)
                nth += 1
            if now_s >= tick_s:
                self._tick(now_s)
                ticks += 1
            elif due_s is not None and due_s <= now_s:
                self._wake(now_s)

    # -- time ---------------------------------------------------------------------------

    def _next_s(self, tick_s: float, arrival_s: float, due_s: float | None) -> float:
        """When the next thing happens; never before now."""
        now_s = min(tick_s, arrival_s)
        event_s = self._engines.next_event_s()
        if event_s is not None and event_s < now_s:
            now_s = event_s
        if due_s is not None and due_s < now_s:
            now_s = due_s
        return max(now_s, self._now_s)

    def _due_s(self) -> float | None:
        """When the first of those who wait must be turned away."""
        first_s = None
        for queue in self._queues:
            due_s = queue.next_deadline_s()
            if due_s is not None and (first_s is None or due_s < first_s):
                first_s = due_s
        return first_s

    def _tick(self, now_s: float) -> None:
        self.decisions += self._body.tick(now_s, self._engines)
        if self._watch is not None:
            self._watch(now_s)
        self._wake(now_s)

    # -- arrivals and queues ------------------------------------------------------------

    def _arrive(self, number: int, arrival: Arrival, now_s: float) -> None:
        outcome, asked = self._body.ask(number, arrival, now_s)
        self.outcomes.append(outcome)
        if asked is not None:
            self._asked[number] = asked
            self._carry_out(asked.queue, asked.queue.offer(asked.ticket, now_s), now_s)

    def _wake(self, now_s: float) -> None:
        for queue in self._queues:
            self._carry_out(queue, queue.wake(now_s), now_s)

    def _carry_out(self, queue: AdmissionQueue, effects: Iterable[Effect], now_s: float) -> None:
        left = deque(effects)
        while left:
            effect = left.popleft()
            asked = self._asked[effect.request]
            asked.outcome.queued_s = effect.waited_s
            if isinstance(effect, Admit):
                left += self._dispatch(queue, asked, effect.waited_s, now_s)
                continue
            passed = effect.reason in ("deadline_passed", "queue_timeout")
            asked.outcome.fate = "dropped" if passed else "refused"
            asked.outcome.finish_reason = effect.reason
            self._body.turned_away(asked, now_s)
            del self._asked[effect.request]

    def _dispatch(
        self, queue: AdmissionQueue, asked: Asked, waited_s: float, now_s: float
    ) -> list[Effect]:
        """What comes of it at the queue."""
        self._body.dispatched(asked, waited_s, now_s)
        job = Job(
            id=asked.number,
            prompt_tokens=asked.arrival.input_tokens,
            output_tokens=asked.output_tokens,
            seed=mix(self._seed, 1, asked.number),
            every_token=False,
        )
        if self._engines.submit(now_s, asked.lane, job) in ("running", "waiting"):
            return []
        return self._failed(queue, asked, now_s)

    # -- engines ------------------------------------------------------------------------

    def _engine_events(self, now_s: float) -> None:
        for event in self._engines.advance(now_s):
            match event:
                case Token() if event.index == 1:
                    asked = self._asked[event.job_id]
                    asked.outcome.ttft_s = event.at_s - asked.arrival.arrival_s
                    self._first_token(asked, event.at_s)
                case Done():
                    self._done(event)
                case Lost():
                    asked = self._asked[event.job_id]
                    self._carry_out(asked.queue, self._failed(asked.queue, asked, now_s), now_s)
                case _:
                    pass

    def _first_token(self, asked: Asked, at_s: float) -> None:
        queue = asked.queue
        lane = queue.lane(asked.ticket.lane)
        before = lane.limit
        self._body.first_token(asked, at_s)
        if lane.limit > before:  # the answer has made room for those who wait
            self._carry_out(queue, queue.wake(at_s), at_s)

    def _done(self, done: Done) -> None:
        asked = self._asked.pop(done.job_id)
        outcome, card = asked.outcome, asked.card
        outcome.fate = "served"
        outcome.output_tokens = done.output_tokens
        outcome.e2e_s = done.at_s - asked.arrival.arrival_s
        if done.output_tokens > 1:
            outcome.tpot_s = (done.at_s - done.first_token_s) / (done.output_tokens - 1)
        outcome.finish_reason = "length" if asked.capped else "stop"
        outcome.cost_usd = (
            asked.arrival.input_tokens * (card.input_price or 0.0)
            + done.output_tokens * (card.output_price or 0.0)
        ) / 1e6
        self._body.ended(asked, done.at_s, failed=False)
        queue = asked.queue
        self._carry_out(queue, queue.done(done.job_id, done.at_s), done.at_s)

    def _failed(self, queue: AdmissionQueue, asked: Asked, now_s: float) -> list[Effect]:
        asked.outcome.fate, asked.outcome.finish_reason = "failed", "error"
        del self._asked[asked.number]
        self._body.ended(asked, now_s, failed=True)
        return queue.done(asked.number, now_s)
