"""How many requests one (pool, model) works on at once: steered to the TPOT objective. A pure step.

The target is the objective and not a learned baseline: a batching engine gets slower as it fills, and
that is normal. `error = ln(theta * objective / measured)`, and the limit moves by a part of it:

* steady: error near 0, the limit breathes by a percent or two;
* into overload: error below 0, the limit shrinks, quicker than it grew. While more runs than the
  limit allows, nothing it could still do has been seen yet: it does not shrink below what the
  error says about what runs (else it would wind up while long answers end);
* out of it: error above 0, the limit grows only while it is what holds requests back;
* start: it doubles, by less as the error gets small, until the error was below 0 once. Between the
  ticks it opens with each answer that begins (`policies.opening`); where the engine lets requests wait
  inside, there is hardly a reason to send it more, and it grows by little.

An upstream whose own queue delays the first token shrinks it too. Without a TPOT objective the limit
grows while more at once means more tokens per second, and goes back to where that ended (failsafe-go
and Uber's Cinnamon stop alike). No fresh sample: hold; only before the first one it grows by a tenth a
second while it holds requests back, since an engine that thinks for a minute before it speaks shows none.
An objective that one request at a time cannot meet either holds nothing: the limit opens for a while,
and says so; only refusals still cut it.
Must stay true: a looser TPOT objective never gives a smaller next limit, unless the tighter one has been
given up as unattainable.
Why it is stable: TPOT is about a + b * limit, whose elasticity is below 1, so a log-integral step with
a gain below 2 contracts. Source: control.md C2; SCORPIO's virtual batch size is its nearest relative.
"""

import math
from typing import Literal

import msgspec

THETA = 0.98
"""Goodput is a cliff above the objective and a slope below it."""
GROW_GAIN, GROW_MAX = 0.3, 0.10
SHRINK_GAIN, SHRINK_MAX = 0.5, 0.35
ELASTICITY = 0.5
"""Of TPOT by concurrency, taken low: what runs now, times exp(error / ELASTICITY), is surely enough."""
SLOW_START_ELASTICITY = 0.6
SLOW_START_S = 1.0
UPSTREAM_QUEUE_FACTOR = 0.95
REFUSED_FACTOR = 0.5
EXPIRED_FACTOR = 0.9
PROBE_FACTOR = 1.1
PROBE_AGAIN_S = 55.0
FOLDS = 15
"""Seconds over which concurrency and throughput are held against each other."""
GAIN_FOLDS = 10
SPREAD = 1.4
"""How much concurrency must have varied: less, and noise decides."""
STOP_GAIN = 0.3
"""Percent more tokens per percent more concurrency, below which growing is over."""
CAREFUL_FACTOR = 1.03
EFFECTIVE = 1.05
KNEE_SHARE = 0.95
"""Of the most tokens per second: the least concurrency that gave so much is where the gain ended."""
HOPELESS_S = 10.0
OPEN_S = 300.0
OPEN_GROWTH = 0.03
"""How a limit that is open comes back after a refusal has cut it, a tick."""

Reason = Literal[
    "no_data",
    "not_binding",
    "slow_start",
    "grow",
    "shrink",
    "upstream_queue",
    "probe",
    "throughput_flat",
    "unattainable",
    "open",
]


class LimitBounds(msgspec.Struct, frozen=True, kw_only=True):
    """The limit never leaves [floor, ceiling]; floor >= 1."""

    floor: float
    ceiling: float


class LimitReading(msgspec.Struct, frozen=True, kw_only=True):
    """One tick's view. `tpot_s`: p95 over live streams of the mean gap of their last tokens, None if
    no sample is fresh. `binding`: somebody waited or was refused since the last tick."""

    tpot_s: float | None
    tpot_objective_s: float | None
    binding: bool
    inflight: int
    upstream_late: bool = False
    tokens_per_s: float = 0.0
    theta: float = THETA
    """Of the objective, what is steered to."""
    mean_inflight: float | None = None
    """Over the same seconds as `tokens_per_s`: a moment's concurrency held against an average throughput
    shows a gain, or its end, where there is none. None: `inflight` stands for it."""
    answering: int = 0
    """Of those in flight, who has had a first token."""
    waits_inside: bool = False
    """The engine answers some, and most of the others wait for a first token far longer than those did."""
    least_inflight: int = 0
    """As few as ran at any tick while the streams were seen whose pace `tpot_s` is."""
    first_token_s: float | None = None
    """p95 of what it took from dispatch to first token lately, where no stream's pace is known yet."""


class LimitState(msgspec.Struct, frozen=True, kw_only=True):
    """Begin with `LimitState(limit=...)`."""

    limit: float
    starting: bool = True
    seen: bool = False
    """There has been a sample."""
    silent_s: float | None = None
    """Since when there has been none and somebody waits; or when the limit grew for that."""
    doubled_s: float = -math.inf
    folds: tuple[tuple[float, float], ...] = ()
    """(in-flight, tokens per second), one a second, newest last."""
    folded_s: float = -math.inf
    stopped_s: float = -math.inf
    hopeless_since_s: float | None = None
    open_until_s: float = -math.inf
    cut_s: float = -math.inf


def step(
    state: LimitState, seen: LimitReading, bounds: LimitBounds, now_s: float
) -> tuple[LimitState, Reason]:
    """Advance by one tick of about 250 ms. Never raises."""
    if now_s < state.open_until_s:
        factor = math.exp(OPEN_GROWTH) if seen.binding else 1.0
        return _at(state, state.limit * factor, bounds), "open"
    state = _folded(state, seen, now_s)
    if seen.tpot_objective_s is None:
        return _by_throughput(state, seen, bounds, now_s)
    if seen.tpot_s is None or not 0.0 < seen.tpot_s < math.inf:
        return _unseen(state, seen, bounds, now_s)
    if not state.seen:
        state = msgspec.structs.replace(state, seen=True)
    ratio = seen.theta * seen.tpot_objective_s / seen.tpot_s
    error = math.log(ratio) if ratio > 0.0 else -math.inf
    if error < 0.0:
        return _shrunk(state, seen, error, bounds, now_s)
    state = msgspec.structs.replace(state, hopeless_since_s=None)
    if seen.upstream_late:
        factor = UPSTREAM_QUEUE_FACTOR if _is_effective(state, seen) else 1.0
        return _at(state, state.limit * factor, bounds), "upstream_queue"
    if not seen.binding:
        return _at(state, state.limit, bounds), "not_binding"
    if state.starting and now_s - state.doubled_s < SLOW_START_S:
        return _at(state, state.limit, bounds), "slow_start"
    if state.starting and error > GROW_MAX:
        state = msgspec.structs.replace(state, doubled_s=now_s)
        growth = min(math.log(2.0), error / SLOW_START_ELASTICITY)
        if seen.waits_inside:
            growth = (
                GROW_GAIN * GROW_MAX
            )  # what the least error would give that is worth a doubling
        return _at(state, state.limit * math.exp(growth), bounds), "slow_start"
    return _at(state, state.limit * math.exp(min(GROW_MAX, GROW_GAIN * error)), bounds), "grow"


def _unseen(
    state: LimitState, seen: LimitReading, bounds: LimitBounds, now_s: float
) -> tuple[LimitState, Reason]:
    """Nothing streams: what a larger limit would do cannot be told."""
    looking = not state.seen and state.starting and seen.binding and not seen.upstream_late
    if looking and state.silent_s is None:
        state = msgspec.structs.replace(state, silent_s=now_s)
    if not looking or state.silent_s is None or now_s - state.silent_s < SLOW_START_S:
        return _at(state, state.limit, bounds), "no_data"
    state = msgspec.structs.replace(state, silent_s=now_s)
    return _at(state, state.limit * PROBE_FACTOR, bounds), "probe"


def refused(
    state: LimitState,
    bounds: LimitBounds,
    kind: Literal["capacity", "expired"],
    dispatched_s: float,
    now_s: float,
) -> LimitState:
    """The backend declined a request sent at `dispatched_s`. Halved once per flight: those sent before
    the last cut say nothing new."""
    if dispatched_s <= state.cut_s:
        return state
    factor = REFUSED_FACTOR if kind == "capacity" else EXPIRED_FACTOR
    state = msgspec.structs.replace(state, cut_s=now_s, starting=False)
    return _at(state, state.limit * factor, bounds)


def _shrunk(
    state: LimitState, seen: LimitReading, error: float, bounds: LimitBounds, now_s: float
) -> tuple[LimitState, Reason]:
    at_floor = state.limit <= bounds.floor * 1.001 and seen.inflight <= bounds.floor
    before_s = now_s if state.hopeless_since_s is None else state.hopeless_since_s
    since_s = before_s if at_floor else None
    state = msgspec.structs.replace(state, starting=False, hopeless_since_s=since_s)
    if since_s is not None and now_s - since_s >= HOPELESS_S:
        state = msgspec.structs.replace(state, hopeless_since_s=None, open_until_s=now_s + OPEN_S)
        return _at(state, bounds.ceiling, bounds), "unattainable"
    smaller = state.limit * math.exp(max(-SHRINK_MAX, SHRINK_GAIN * error))
    enough = seen.inflight * math.exp(error / ELASTICITY)
    most = state.limit * (UPSTREAM_QUEUE_FACTOR if seen.upstream_late else 1.0)
    return _at(state, min(most, max(smaller, enough)), bounds), "shrink"


def _by_throughput(
    state: LimitState, seen: LimitReading, bounds: LimitBounds, now_s: float
) -> tuple[LimitState, Reason]:
    """One decision a second. Growing is what makes concurrency vary, so that the gain can be seen: by a
    tenth a second at first, later carefully, for what it overshoots waits in the engine."""
    if now_s - state.doubled_s < SLOW_START_S:
        return _at(state, state.limit, bounds), "not_binding"
    if seen.upstream_late:
        if not _is_effective(state, seen):
            return _at(state, state.limit, bounds), "upstream_queue"
        state = msgspec.structs.replace(state, doubled_s=now_s, stopped_s=now_s, starting=False)
        smaller = max(state.limit * UPSTREAM_QUEUE_FACTOR, min(_knee(state.folds), state.limit))
        return _at(state, smaller, bounds), "upstream_queue"
    if not seen.binding:
        return _at(state, state.limit, bounds), "not_binding"
    if now_s - state.stopped_s < PROBE_AGAIN_S:
        return _at(state, state.limit, bounds), "throughput_flat"
    state = msgspec.structs.replace(state, doubled_s=now_s)
    gain = _gain(state.folds)
    if gain is not None and gain < STOP_GAIN:
        knee = _knee(state.folds)
        state = msgspec.structs.replace(state, stopped_s=now_s, folds=(), starting=False)
        return _at(state, min(state.limit, knee), bounds), "throughput_flat"
    factor = PROBE_FACTOR if state.starting and not seen.waits_inside else CAREFUL_FACTOR
    return _at(state, state.limit * factor, bounds), "probe"


def _is_effective(state: LimitState, seen: LimitReading) -> bool:
    """Whether what runs is down to the limit: before that, another cut would be one too many."""
    return seen.inflight <= EFFECTIVE * state.limit + 1.0


def _folded(state: LimitState, seen: LimitReading, now_s: float) -> LimitState:
    if now_s - state.folded_s < 1.0:
        return state
    inflight = seen.inflight if seen.mean_inflight is None else seen.mean_inflight
    folds = (*state.folds, (float(inflight), seen.tokens_per_s))[-FOLDS:]
    return msgspec.structs.replace(state, folds=folds, folded_s=now_s)


def _gain(folds: tuple[tuple[float, float], ...]) -> float | None:
    """By how many percent the throughput rose for each percent of concurrency, over all that is
    remembered (least squares of the logarithms); None where concurrency hardly varied."""
    points = [(math.log(n), math.log(x)) for n, x in folds if n > 0.0 and x > 0.0]
    if len(points) < GAIN_FOLDS:
        return None
    ns = [n for n, _ in points]
    if max(ns) - min(ns) < math.log(SPREAD):
        return None
    mean_n, mean_x = sum(ns) / len(ns), sum(x for _, x in points) / len(points)
    spread = sum((n - mean_n) ** 2 for n in ns)
    return sum((n - mean_n) * (x - mean_x) for n, x in points) / spread


def _knee(folds: tuple[tuple[float, float], ...]) -> float:
    """The least concurrency that gave nearly the most tokens per second: growing overshoots it for as long
    as the correlation remembers what came before."""
    most = max((y for _, y in folds), default=0.0)
    if most <= 0.0:
        return 1.0
    return min(x for x, y in folds if y >= KNEE_SHARE * most)


def _at(state: LimitState, limit: float, bounds: LimitBounds) -> LimitState:
    bounded = min(max(limit, bounds.floor), max(bounds.ceiling, bounds.floor))
    return state if bounded == state.limit else msgspec.structs.replace(state, limit=bounded)
