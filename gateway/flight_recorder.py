"""What one request tells the control loop: each step at the moment it happens, and its one fate.

Between the executor and `policies.loop`; it holds a clock, and decides nothing. A request's fate is told
once, whatever else happens to it.
"""

from collections.abc import Callable, Mapping, Sequence

from contracts.catalog import ModelCard
from contracts.decision import Decision
from contracts.errors import ClientFault, GatewayError, Shed, TaskExpired, UpstreamFault
from contracts.inference import InferRequest, Target
from contracts.policy import Intent
from gateway.endpoint import Endpoint
from gateway.entry import Entry
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.slot import Slot
from policies.capacity_refusal import capacity_refusal
from policies.flight import Flight
from policies.honour import Honour
from policies.loop import Loop

CLIENT_GONE = 499
"""Logged and counted, never sent: nobody is there to read it."""
_REQUESTS_OWN = frozenset({"client", "content", "context_length"})
"""Faults that say something about the request, and nothing about whether a promise was kept."""


class FlightRecorder:
    """One request's. `cards` are the catalogue's models; of one that is not there nothing is dispatched.

    One that is not `offered` is refused for its caller's own sake before it comes to a queue (its budget
    is used up). The loop never hears of it: it is neither load that a limit or a rung could do something
    about, nor a promise that was broken.
    """

    # What most requests have nothing of.
    _started = _answering = _over = False
    _session: tuple[str, str] | None = None
    _deadline_s: float | None = None
    """Where it is refused rather than served later."""
    _start_by_s: float | None = None
    """Of a task."""
    accepted = False
    """A task that a queue has let in or lets wait: it is told so, and finds room from then on."""

    def __init__(
        self,
        loop: Loop,
        honours: dict[str, Honour],
        clock: Callable[[], float],
        number: int,
        infer: InferRequest,
        decision: Decision,
        intent: Intent,
        cards: Mapping[str, ModelCard],
        weight: float,
        accepted_s: float,
        offered: bool = True,
    ) -> None:
        self._loop, self._honours, self._clock = loop, honours, clock
        self._decision, self._cards = decision, cards
        wants, facts, shaping = decision.constraints, infer.facts, decision.shaping
        card, waits = cards.get(shaping.model), not facts.task
        if not offered:
            self._over = True
        if wants.ttft_s is not None and intent.late == "refuse" and not intent.dry_run:
            self._deadline_s = accepted_s + wants.ttft_s
        if facts.task and facts.wait_s is not None:
            self._start_by_s = accepted_s + facts.wait_s
        if facts.session:
            self._session = facts.key, facts.session
        # In the order of its members: by their names they would take five times as long, 1 us a request.
        self.flight = Flight(
            number,
            decision.intent,
            card.name if card else shaping.model,
            (card.pool, card.upstream) if card else ("", ""),
            wants.fairness_id or "",
            wants.priority,
            facts.prompt_tokens,
            accepted_s,
            weight,
            shaping.max_tokens or facts.max_tokens,
            wants.ttft_s if waits else None,
            wants.tpot_s,
            intent.objectives.e2e_s if waits else None,
            0.0,  # prices are of where it is dispatched
            0.0,
            decision.treated,
            decision.held_out,
            facts.task,
        )
        if card is not None and offered:
            loop.offered(self.flight)

    def offered(self) -> None:
        """One that was not, because its budget had to be fetched, and now is."""
        self._over = False
        if self._decision.shaping.model in self._cards:
            self._loop.offered(self.flight)

    # -- on its way ---------------------------------------------------------------------

    def enter(self, pool: Pool, target: Target, avoid: Sequence[Endpoint]) -> Entry:
        """Ask for a place, with all that the queue orders by. Raises TaskExpired where a task's time to
        start has passed already."""
        flight = self.flight
        entry = pool.enter(
            flight.priority,
            avoid,
            lane=target.upstream,
            caller=flight.caller,
            weight=flight.weight,
            prompt_tokens=flight.prompt_tokens,
            deadline_s=None if self._answering else self._deadline_s,
            patient=flight.patient,
            timeout_s=None if self._start_by_s is None else self._patience_s(pool),
            accepted=self.accepted,
            session=self._session,
        )
        if flight.patient and not self.accepted:
            self.accepted = entry.refused is None
        return entry

    def _patience_s(self, pool: Pool) -> float:
        """How long a task may wait in that queue. All places where it waits share its time to start. Once it has
        started, an attempt after that waits as any request."""
        assert self._start_by_s is not None
        left_s = self._start_by_s - self._clock()
        if self._started:
            return max(left_s, pool.options.queue_timeout_s)
        if left_s <= 0:
            raise TaskExpired("the task could not start within its ttl", retry_after_s=1.0)
        return left_s

    def prefill_s(self, pool: Pool, target: Target) -> float | None:
        """How long its first token will take there, as far as that was measured."""
        return pool.queue.lane(target.upstream).prefill.predict(self.flight.prompt_tokens)

    def dispatched(self, target: Target, slot: Slot) -> None:
        self._started = True
        self._at(target, slot)
        lane = (target.pool, target.upstream)
        self._loop.dispatched(self.flight, lane, slot.waited_s, self._clock())

    def chosen(self, target: Target, slot: Slot, dispatched_s: float) -> None:
        """Of two attempts that ran beside each other, this one counts from now on."""
        self._at(target, slot)
        self.flight.lane = (target.pool, target.upstream)
        self.flight.dispatched_s = dispatched_s

    def _at(self, target: Target, slot: Slot) -> None:
        flight, card = self.flight, self._cards.get(target.model)
        flight.ticket = slot.ticket
        flight.input_usd = (card.input_price or 0.0) / 1e6 if card else 0.0
        flight.output_usd = (card.output_price or 0.0) / 1e6 if card else 0.0

    def head(self, queue_s: float | None) -> None:
        """A good answer has begun; `queue_s` is what the backend says of its own queue."""
        flight = self.flight
        honour = self._honours.get(flight.lane[0])
        if queue_s is None and honour is None:
            return
        now_s, objective = self._clock(), self._decision.constraints.objective
        if queue_s is not None:
            self._loop.flow_queued(flight, queue_s, now_s)
        if honour is not None and objective is not None:
            sent_s = flight.dispatched_s
            honour.answered(objective, flight.priority, queue_s, now_s, sent_s=sent_s)

    def first_token(self, at_s: float) -> None:
        self._answering = True  # whoever goes on with it has no first token to be in time with
        self._loop.first_token(self.flight, at_s)
        self.flight.tokens -= 1  # the attempt counts each piece of content, and so this one

    def attempt_failed(self, error: GatewayError) -> None:
        """Nothing of it was sent on; another attempt may follow, and counts from nought."""
        if isinstance(error, UpstreamFault):
            self.stream_broke(error)
            self.flight.tokens = self.flight.reported_tokens = 0

    def stream_broke(self, error: GatewayError) -> None:
        """What its client has counts; another attempt may go on with it."""
        if isinstance(error, UpstreamFault):
            signal = capacity_refusal(error.fault, error.code)
            self._loop.attempt_failed(self.flight, signal, self._clock())

    # -- its fate -----------------------------------------------------------------------

    def close(
        self, status: int, error: GatewayError | None, progress: Progress, now_s: float
    ) -> None:
        """However it ended. Only the first call counts."""
        if self._over:
            return
        self._over = True
        flight, usage = self.flight, progress.usage
        if status == CLIENT_GONE or (error is not None and _is_its_own(error)):
            self._loop.cancelled(flight, now_s)
        elif self._decision.shaping.reject is not None:
            self._loop.refused(flight, now_s, shed=True)
        elif flight.dispatched_s is None and isinstance(error, Shed):
            self._loop.refused(flight, now_s)
        else:
            self._loop.ended(
                flight,
                now_s,
                failed=error is not None,
                output_tokens=usage.completion_tokens if usage and not usage.estimated else None,
                finish_reason=progress.finish_reasons[0] if progress.finish_reasons else "",
            )


def _is_its_own(error: GatewayError) -> bool:
    if isinstance(error, UpstreamFault):
        return error.fault in _REQUESTS_OWN
    return isinstance(error, ClientFault)
