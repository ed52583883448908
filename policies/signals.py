"""What is measured, for each intent and each (pool, model): rolling windows in memory.

Must stay true: nothing here decides; every number is over a window that empties by time alone; memory
is bounded by configuration. A request that was refused or never answered is late for every latency, in
the tallies that objectives are judged by.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from contracts.control import MeasuredObjective
from policies.objectives import Objective
from policies.window import Rate, Tally, Window

SPANS_S = (5, 30, 300)
MIN_WINDOW_S, MAX_WINDOW_S = 5, 300
MINUTE_S = 60
FRESH_S, STALE_S = 1.0, 3.0
"""Live TPOT: samples of the last second, or of the last three where those are few."""
ENOUGH = 8
MAX_LIVE = 256
"""Of live streams' paces, the newest: enough for a 95th percentile that is one of the 94th to 96th, and put in order
four times a second, with nobody served meanwhile."""
NEARLY = 0.85
"""Of what may be spent, from which on it is looked at with every tick."""
SEVERITY_MAX = 2.0
"""Clamped before anything averages it: spikes of 10 to 90 times the objective poison an average."""


class IntentSignals:
    """One promise. `window_s` is what its objectives are judged over."""

    def __init__(self, objectives: Sequence[Objective], window_s: float) -> None:
        self.window_s = min(max(round(window_s), MIN_WINDOW_S), MAX_WINDOW_S)
        self.objectives = tuple(objectives)
        spans = tuple(sorted({*SPANS_S, self.window_s}))
        self.queue, self.ttft = Window(spans), Window(spans)
        self.tpot, self.e2e = Window(spans), Window(spans)
        self.output = Window((300,))
        """Thousands of tokens of answers that ended well."""
        self.tallies = {
            o.name: Tally(self.window_s) for o in self.objectives if o.allowed is not None
        }
        self.judged: dict[str, list[tuple[Objective, Tally]]] = {}
        """By signal, what a request's value of it can miss."""
        for o in self.objectives:
            if o.allowed is not None:
                self.judged.setdefault(o.signal, []).append((o, self.tallies[o.name]))
        self.arrivals, self.served = Rate(spans), Rate(spans)
        self.refused, self.shed, self.failed = Rate(spans), Rate(spans), Rate(spans)
        self._cost_span_s = max(self.window_s, MINUTE_S)
        self.tokens = Rate(spans)
        self.cost = Rate(tuple(sorted({*spans, self._cost_span_s})))
        self._fresh_cost = Rate((self._cost_span_s,))
        """What was spent since the last action."""

    def pay(self, now_s: float, usd: float) -> None:
        """Something was spent."""
        self.cost.add(now_s, usd)
        self._fresh_cost.add(now_s, usd)

    def judge(
        self, now_s: float, signal: str, values: Sequence[tuple[float | None, float | None]]
    ) -> dict[str, list[bool]]:
        """Count requests for every objective of a signal: of each its value, None if it will never have one,
        and its own objective, where its client tightened the promise. Returns by objective who missed it.
        """
        missed = {}
        for objective, tally in self.judged.get(signal, ()):
            promised = objective.target
            bad = missed[objective.name] = [
                value is None or value > promised or (own is not None and value > own)
                for value, own in values
            ]
            tally.add(now_s, sum(bad), len(bad))
        return missed

    def any_bad(self, now_s: float) -> bool:
        """Whether anything at all speaks against the promise: cheap, and asked every tick."""
        if any(tally.read(now_s)[1] for tally in self.tallies.values()):
            return True
        return any(
            o.allowed is None and self._per_minute(self._fresh_cost, now_s) > NEARLY * o.target
            for o in self.objectives
        )

    def forget_evidence(self) -> None:
        """An action has changed what is measured: what came before it proves nothing any more."""
        for tally in self.tallies.values():
            tally.clear()
        self._fresh_cost = Rate((self._cost_span_s,))

    def measured(self, now_s: float) -> list[MeasuredObjective]:
        """Each objective against its target, for people. `severity` is measured / promised, clamped;
        None where nothing was measured."""
        return [self._measured(objective, now_s, self.cost) for objective in self.objectives]

    def evidence(self, now_s: float) -> list[MeasuredObjective]:
        """As `measured`, but of money only what was spent since the last action counts: what an action
        could no longer prevent is no reason for the next one."""
        return [self._measured(objective, now_s, self._fresh_cost) for objective in self.objectives]

    def _measured(self, objective: Objective, now_s: float, cost: Rate) -> MeasuredObjective:
        n, bad = 0, 0
        if objective.allowed is not None:
            n, bad = self.tallies[objective.name].read(now_s)
        if objective.signal == "cost_per_minute":
            value: float | None = self._per_minute(cost, now_s)
        else:
            value = self._value(objective, now_s, n, bad)
        return MeasuredObjective(
            objective=objective.name,
            target=objective.target,
            value=value,
            samples=n,
            bad=bad,
            severity=_severity(objective, value, n, bad),
        )

    def _per_minute(self, spent: Rate, now_s: float) -> float:
        """Over a whole minute at least, however little of it there has been: what has been spent in a
        second, or in a busy half minute, is not what will be spent in a minute."""
        covered_s = self._cost_span_s - 1 + now_s % 1.0
        return spent.sum(now_s, self._cost_span_s) * 60.0 / covered_s

    def _value(self, objective: Objective, now_s: float, n: int, bad: int) -> float | None:
        match objective.signal:
            case "error_rate" | "cost_per_request":
                return self._share_or_mean(objective, now_s, n, bad)
        window: Window = getattr(self, objective.signal)
        assert objective.quantile is not None
        return window.quantile(now_s, self.window_s, objective.quantile)

    def _share_or_mean(self, objective: Objective, now_s: float, n: int, bad: int) -> float | None:
        if objective.signal == "error_rate":
            return bad / n if n else None
        served = self.served.sum(now_s, self.window_s)
        return self.cost.sum(now_s, self.window_s) / served if served else None


def _severity(objective: Objective, value: float | None, n: int, bad: int) -> float | None:
    """Measured / promised, or the share of bad ones / allowed where that is too large and larger: where
    everybody is refused, there is no latency to measure."""
    found = [] if value is None else [_ratio(value, objective.target)]
    if n and objective.allowed is not None and bad / n > objective.allowed:
        found.append(_ratio(bad / n, objective.allowed))
    return max(found, default=None)


def _ratio(measured: float, promised: float) -> float:
    if promised <= 0.0:
        return SEVERITY_MAX if measured > 0.0 else 0.0
    return min(measured / promised, SEVERITY_MAX)


class LaneSignals:
    """One (pool, model)."""

    def __init__(self) -> None:
        self._live: deque[tuple[float, float]] = deque(maxlen=MAX_LIVE)
        self.upstream_ttft = Window((5, 30))
        self.tokens = Rate((5, 30))
        self.dispatched = Rate((5, 30))
        self.service = Window((30, 300))
        """Dispatch to end of answers that ended well."""
        self.flow_queue = Window((30,))
        """What the backend says they waited in its own queue."""

    def pace(self, now_s: float, gap_s: float) -> None:
        """A live stream's mean gap over its last tokens."""
        self._live.append((now_s, gap_s))

    def tpot_p95_s(self, now_s: float) -> float | None:
        """Over live streams, fresh; None where nothing fresh is there, and so nothing is known."""
        while self._live and now_s - self._live[0][0] > STALE_S:
            self._live.popleft()
        gaps = [gap for at_s, gap in self._live if now_s - at_s <= FRESH_S]
        if len(gaps) < ENOUGH:
            gaps = [gap for _, gap in self._live]
        if not gaps:
            return None
        gaps.sort()
        return gaps[min(int(0.95 * len(gaps)), len(gaps) - 1)]


class Signals:
    """All classes. Intents and lanes come from configuration."""

    def __init__(self) -> None:
        self.intents: dict[str, IntentSignals] = {}
        self.lanes: dict[tuple[str, str], LaneSignals] = {}

    def declare(self, objectives: Mapping[str, tuple[Sequence[Objective], float]]) -> None:
        """The intents there are, with their objectives and windows. One that is promised the same as
        before keeps what it has measured."""
        kept = {}
        for name, (promised, window_s) in objectives.items():
            old = self.intents.get(name)
            fresh = IntentSignals(promised, window_s)
            same = old is not None and (old.objectives, old.window_s) == (
                fresh.objectives,
                fresh.window_s,
            )
            kept[name] = old if old is not None and same else fresh
        self.intents = kept

    def intent(self, name: str) -> IntentSignals:
        """Unknown ones (no intent matched) are measured against nothing."""
        found = self.intents.get(name)
        if found is None:
            found = self.intents[name] = IntentSignals((), 30.0)
        return found

    def lane(self, key: tuple[str, str]) -> LaneSignals:
        found = self.lanes.get(key)
        if found is None:
            found = self.lanes[key] = LaneSignals()
        return found

    def forget_lanes(self, pool: str) -> None:
        """Another engine answers from now on. What intents got stays: it was promised to them,
        whoever answered."""
        self.lanes = {key: lane for key, lane in self.lanes.items() if key[0] != pool}
