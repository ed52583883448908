"""One engine of the fake llm-d: a batch, a waiting queue, and when each token comes. Pure.

Time is an argument. `submit` and `cancel` say what happened outside, `advance` returns what
happened inside, and `next_event_s` when to call it again. What must stay true:

* at most `max_num_seqs` sequences run; a waiting one starts the moment a place is free;
* every accepted job meets exactly one fate: `Done`, `Lost`, or its `cancel`;
* a token's time depends on the law, the batch and the job's seed, never on how often or how late
  `advance` is called, nor on whether the job reports every token.

Not modelled, as in llm-d-inference-sim: preemption, admission by KV space, chunked prefill.
A token costs one heap operation. Only a change of the batch *size* touches all running sequences,
so a saturated engine, where each end is at once followed by a start, never does.
"""

from bisect import bisect_left
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Literal

import msgspec

from adapters.fakellmd import law
from adapters.fakellmd.draws import JITTER_MIN, jitter, jitter_tape, mix
from adapters.fakellmd.settings import LlmdSettings

Admission = Literal["running", "waiting", "full", "down"]
"""What `submit` did. `full` and `down` are refusals: the job is forgotten."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to generate. `id` is the caller's, unique among live jobs. `output_tokens` >= 1."""

    id: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    priority: int = 0
    """Lower starts earlier, as in vLLM (the opposite of an InferenceObjective's)."""
    seed: int = 0
    every_token: bool = True
    """Report each token; otherwise the first one and the end only. Times are the same."""


class Started(msgspec.Struct, frozen=True):
    """The job left the waiting queue."""

    job_id: int
    at_s: float


class Token(msgspec.Struct, frozen=True):
    """A token was generated; `index` counts from 1."""

    job_id: int
    at_s: float
    index: int


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The last token was generated, at `at_s`."""

    job_id: int
    at_s: float
    submitted_s: float
    started_s: float
    first_token_s: float
    output_tokens: int


class Lost(msgspec.Struct, frozen=True):
    """The engine failed with the job in it."""

    job_id: int
    at_s: float


EngineEvent = Started | Token | Done | Lost


class _Sequence:
    """A live job. Its tokens from `anchor` on come at the pace `gap_s`, for as long as the batch lasts."""

    __slots__ = (
        "anchor",
        "anchor_s",
        "emitted",
        "first_token_s",
        "gap_s",
        "job",
        "offset",
        "order",
        "started_s",
        "submitted_s",
    )

    def __init__(self, job: Job, order: int, submitted_s: float) -> None:
        self.job = job
        self.order = order
        self.submitted_s = submitted_s
        self.started_s = inf
        self.first_token_s = inf
        self.emitted = 0
        self.offset = mix(job.seed, 1) % 65_536
        self.anchor = 1
        self.anchor_s = inf
        self.gap_s = 0.0


class EngineModel:
    """One replica of one model. Times given to it must not go back; if one does, it counts as the last."""

    def __init__(self, settings: LlmdSettings, model: str, *, started_s: float = 0.0) -> None:
        """`started_s` is the engine's start on the caller's clock; drift counts from there.

        Raises KeyError if `model` is not among `settings.models`.
        """
        self.model = model
        self._started_s = started_s
        self._now_s = started_s
        self._running: dict[int, _Sequence] = {}
        self._waiting: dict[int, _Sequence] = {}
        self._queue: list[tuple[int, int, _Sequence]] = []
        """Heap over `_waiting`; entries of cancelled jobs stay until they surface or outnumber the rest."""
        self._agenda: list[tuple[float, int, _Sequence]] = []
        """Heap of the next token to report of each running sequence."""
        self._events: list[EngineEvent] = []
        self._arrivals = 0
        self._down = False
        self._configure(settings)

    # -- what the outside says ----------------------------------------------------------

    def submit(self, now_s: float, job: Job) -> Admission:
        """Offer a job: it runs, waits, or is refused. Raises ValueError for an id that is live or no tokens."""
        if job.id in self._running or job.id in self._waiting or job.output_tokens < 1:
            raise ValueError(f"job {job.id} is live already, or has no tokens to generate")
        now_s = self.run_until(now_s)
        if self._down:
            return "down"
        bound = self._settings.max_waiting_queue_length
        full = len(self._running) >= self._settings.max_num_seqs
        if full and bound is not None and len(self._waiting) >= bound:
            return "full"
        self._arrivals += 1
        sequence = _Sequence(job, self._arrivals, now_s)
        if full:
            self._waiting[job.id] = sequence
            rank = job.priority if self._settings.priority_scheduling else 0
            heappush(self._queue, (rank, sequence.order, sequence))
            return "waiting"
        self._start(now_s, sequence)
        self._pace(now_s)
        return "running"

    def cancel(self, job_id: int, now_s: float) -> bool:
        """Forget a job and free its place at once. False: it had met its fate already."""
        now_s = self.run_until(now_s)
        if self._waiting.pop(job_id, None) is not None:
            if len(self._queue) > 2 * len(self._waiting) + 64:
                self._queue = [entry for entry in self._queue if entry[2].job.id in self._waiting]
                heapify(self._queue)
            return True
        if self._running.pop(job_id, None) is None:
            return False
        self._agenda = [entry for entry in self._agenda if entry[2].job.id != job_id]
        heapify(self._agenda)
        self._refill(now_s)
        return True

    def reconfigure(self, now_s: float, settings: LlmdSettings) -> None:
        """From now on, other settings. Tokens already under way keep their time; nobody is thrown out.

        Drifts of the new settings that lie in the past take effect now.
        """
        now_s = self.run_until(now_s)
        self._replan(now_s)  # places the tokens before now by the pace they had
        self._configure(settings)
        self.run_until(now_s)
        self._replan(now_s)
        self._refill(now_s)

    def fail(self, now_s: float) -> None:
        """The pod is lost: every live job ends as `Lost`, and new ones are refused until `recover`."""
        now_s = self.run_until(now_s)
        live = sorted([*self._running.values(), *self._waiting.values()], key=lambda s: s.order)
        self._events += [Lost(sequence.job.id, now_s) for sequence in live]
        self._running.clear()
        self._waiting.clear()
        self._queue.clear()
        self._agenda.clear()
        self._down = True

    def recover(self) -> None:
        """A lost pod is back, empty. Nothing happens to a healthy one."""
        self._down = False

    # -- what happens inside ------------------------------------------------------------

    def run_until(self, now_s: float) -> float:
        """Let everything up to `now_s` happen; `advance` will return it. Returns the engine's time then."""
        agenda = self._agenda
        while True:
            at_s = agenda[0][0] if agenda else inf
            if self._next_drift_s <= min(at_s, now_s):
                self._drift_on()
                agenda = self._agenda
                continue
            if at_s > now_s:
                break
            sequence = agenda[0][2]
            job = sequence.job
            if sequence.emitted == 0:
                sequence.first_token_s = at_s
                index = 1
            else:
                index = sequence.emitted + 1 if job.every_token else job.output_tokens
            sequence.emitted = index
            if index == 1 or job.every_token:
                self._events.append(Token(job.id, at_s, index))
            if index < job.output_tokens:
                entry = (self._next_report_s(sequence), sequence.order, sequence)
                heapreplace(agenda, entry)
                continue
            heappop(agenda)
            del self._running[job.id]
            self._events.append(
                Done(
                    job_id=job.id,
                    at_s=at_s,
                    submitted_s=sequence.submitted_s,
                    started_s=sequence.started_s,
                    first_token_s=sequence.first_token_s,
                    output_tokens=job.output_tokens,
                )
            )
            self._refill(at_s)
            agenda = self._agenda
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def advance(self, now_s: float) -> list[EngineEvent]:
        """Everything that happened up to and including `now_s` and was not returned before, in time order."""
        self.run_until(now_s)
        events, self._events = self._events, []
        return events

    def next_event_s(self) -> float | None:
        """When something happens next if nobody calls. None: never."""
        if self._events:
            return self._now_s
        if not self._agenda:
            return None
        return min(self._agenda[0][0], self._next_drift_s)

    # -- what can be seen ---------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return not self._down

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def generated(self, job_id: int, now_s: float) -> int:
        """Tokens that a running job has by `now_s`; 0 for any other job."""
        sequence = self._running.get(job_id)
        return 0 if sequence is None else self._generated(sequence, now_s)

    def progress(self, job_id: int, now_s: float) -> tuple[int, float]:
        """Tokens that a running job has by `now_s`, and when the newest of them came; (0, now_s) for
        any other job, and for one without a token."""
        sequence = self._running.get(job_id)
        tokens = 0 if sequence is None else self._generated(sequence, now_s)
        if sequence is None or tokens == 0:
            return 0, now_s
        return tokens, min(self._token_s(sequence, tokens), now_s)

    def kv_usage(self, now_s: float) -> float:
        """Resident tokens (prompts and answers of running sequences) as a share of the cache, at most 1."""
        resident = sum(
            sequence.job.prompt_tokens + self._generated(sequence, now_s)
            for sequence in self._running.values()
        )
        return min(resident / self._settings.kv_cache_tokens, 1.0)

    # -- inside -------------------------------------------------------------------------

    def _configure(self, settings: LlmdSettings) -> None:
        self._settings = settings
        self._latency = settings.latency_of(self.model)
        self._drifts = settings.drift_of(self.model)[::-1]
        self._apply_latency()
        self._gap_s = 0.0

    def _apply_latency(self) -> None:
        self._tape = jitter_tape(self._settings.seed, law.gap_std_dev(self._latency))
        self._next_drift_s = self._started_s + self._drifts[-1].at_s if self._drifts else inf

    def _drift_on(self) -> None:
        at_s = max(self._next_drift_s, self._now_s)
        # The old tape must place the tokens before the drift, so the anchors move first.
        self._replan(at_s)
        self._latency = self._drifts.pop().applied_to(self._latency)
        self._apply_latency()
        self._replan(at_s)

    def _refill(self, at_s: float) -> None:
        """Places may have come free: start whoever is next, then settle the pace."""
        while self._waiting and len(self._running) < self._settings.max_num_seqs:
            sequence = heappop(self._queue)[2]
            if self._waiting.pop(sequence.job.id, None) is not None:
                self._start(at_s, sequence)
        self._pace(at_s)

    def _start(self, at_s: float, sequence: _Sequence) -> None:
        job, latency = sequence.job, self._latency
        self._running[job.id] = sequence
        idle_s = law.idle_first_token_s(latency, job.prompt_tokens, job.cached_tokens)
        loaded_s = idle_s * law.load_factor(
            len(self._running), self._settings.max_num_seqs, latency.time_factor_under_load
        )
        spread = jitter(mix(job.seed, 2), law.first_token_std_dev(latency, idle_s))
        sequence.started_s = at_s
        sequence.anchor_s = at_s + loaded_s * spread
        sequence.gap_s = self._gap_s
        self._events.append(Started(job.id, at_s))
        heappush(self._agenda, (sequence.anchor_s, sequence.order, sequence))

    def _pace(self, at_s: float) -> None:
        """Replan if the batch has another size than the pace was made for."""
        if self._running and self._gap_s != self._batch_gap_s():
            self._replan(at_s)

    def _batch_gap_s(self) -> float:
        return law.gap_s(self._latency, len(self._running), self._settings.max_num_seqs)

    def _replan(self, at_s: float) -> None:
        """Gaps that begin at `at_s` or later follow the batch as it is now; the one under way stays."""
        self._gap_s = self._batch_gap_s()
        gap_s = self._gap_s
        agenda: list[tuple[float, int, _Sequence]] = []
        for sequence in self._running.values():
            if sequence.anchor_s < at_s:
                token = self._first_token_at_or_after(sequence, at_s)
                sequence.anchor_s = self._token_s(sequence, token)
                sequence.anchor = token
            sequence.gap_s = gap_s
            agenda.append((self._next_report_s(sequence), sequence.order, sequence))
        heapify(agenda)
        self._agenda = agenda

    def _next_report_s(self, sequence: _Sequence) -> float:
        if sequence.emitted == 0:
            return self._token_s(sequence, 1)
        every = sequence.job.every_token
        return self._token_s(
            sequence, sequence.emitted + 1 if every else sequence.job.output_tokens
        )

    def _token_s(self, sequence: _Sequence, token: int) -> float:
        offset = sequence.offset
        sums, place = self._tape.sums, offset + token
        if place < len(sums):
            factors = sums[place] - sums[offset + sequence.anchor]
        else:
            up_to = self._tape.up_to
            factors = up_to(place) - up_to(offset + sequence.anchor)
        return sequence.anchor_s + factors * sequence.gap_s

    def _first_token_at_or_after(self, sequence: _Sequence, at_s: float) -> int:
        """The first token from the anchor on that does not come before `at_s`."""
        offset, anchor_s, gap_s = sequence.offset, sequence.anchor_s, sequence.gap_s
        sums, first = self._tape.sums, offset + sequence.anchor
        steps = (at_s - anchor_s) / gap_s
        # No factor is below JITTER_MIN, so the place is no further than that many steps.
        last = first + int(steps / JITTER_MIN) + 2
        if last >= len(sums):
            return self._far_token_at_or_after(sequence, at_s, steps)
        before = sums[first]
        place = bisect_left(sums, before + steps, first, last)
        # The guess divides where `_token_s` multiplies: the last bit is settled here.
        while place > first and anchor_s + (sums[place - 1] - before) * gap_s >= at_s:
            place -= 1
        while anchor_s + (sums[place] - before) * gap_s < at_s:
            place += 1
        return place - offset

    def _far_token_at_or_after(self, sequence: _Sequence, at_s: float, steps: float) -> int:
        """The same for answers longer than the table of sums: the tape knows every place."""
        reached = self._tape.up_to(sequence.offset + sequence.anchor) + steps
        token = max(self._tape.place_of(reached) - sequence.offset, sequence.anchor)
        while token > sequence.anchor and self._token_s(sequence, token - 1) >= at_s:
            token -= 1
        while self._token_s(sequence, token) < at_s:
            token += 1
        return token

    def _generated(self, sequence: _Sequence, now_s: float) -> int:
        if sequence.job.every_token or sequence.emitted == 0:
            return sequence.emitted
        token = self._first_token_at_or_after(sequence, now_s)
        came = self._token_s(sequence, token) <= now_s
        return min(token if came else token - 1, sequence.job.output_tokens)
