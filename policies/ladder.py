"""One intent's ladder: when to take the next rung, when to give one back. A machine without a clock.

Regimes: a *proven* violation (exact binomial, on two ticks) takes the gentlest rung that can help the
violated signal and has something to act on. Nothing else is taken until that action is judged:
confirmed, it is held; without effect, it is rolled back, kept off for a while, and the next rung is
taken at once; harmful, rolled back at once. On the way out, a rung is given back when the promise
has been kept with room to spare for long enough, the newest first, one at a time, and only if the
load is well below what it was when the rung proved necessary: a promise that is kept because of an
action is no reason to end it. That memory of a load is trusted for half an hour, and twice as long
each time a rung had to be taken again soon after.
Must stay true: no action without evidence; one rung at a time; every action has a lease.
"""

from collections.abc import Callable, Iterable

import msgspec

from contracts.control import MeasuredObjective, Verdict
from contracts.policy import Rung
from policies.evidence import proves_violation
from policies.objectives import Objective
from policies.rungs import KINDS
from policies.trial import Now, Trial

LEASE_S = 60.0
CONFIRM_TICKS = 2
CLIMB_CONFIDENCE = 0.995
"""One look at 95% is right 19 times of 20; four looks a second at a sliding window are not. This, on
two ticks, keeps a promise that is just kept from being taken for a broken one about once an hour."""
CALM = 0.6
"""Severity below which a promise is kept with room to spare."""
CALM_S = 30.0
AT_RISK = 0.85
RELIEF = 0.8
"""A rung may be given back when the load is below this share of what it was taken at."""
MEMORY_S = 1800.0
QUARANTINE_S = 600.0
KEPT_UNJUDGED = 2
"""An action that could not be judged is kept if it is one of the first so many rungs."""
FLAP_FACTOR = 2.0
BACKOFF_MAX = 6


class Action:
    """An action in force. `share` is what `shed` refuses of the sheddable, or what `hold_back` leaves
    to those below; 0: it has not been set yet."""

    def __init__(
        self, number: int, index: int, rung: Rung, objective: Objective, now_s: float
    ) -> None:
        self.number = number
        self.index = index
        self.rung = rung
        self.objective = objective
        self.since_s = now_s
        self.lease_until_s = now_s + LEASE_S
        self.trial: Trial | None = None
        self.verdict: Verdict | None = None
        self.words = ""
        self.pools: frozenset[str] = frozenset()
        self.share = 0.0
        self.spared = 0
        """Requests it could have treated, for the holdout's counter."""

    @property
    def dry_run(self) -> bool:
        return self.rung.dry_run

    @property
    def unjudged(self) -> bool:
        return self.verdict is None and not self.dry_run


class Memory(msgspec.Struct):
    """What is known of a rung that was held before."""

    load_rps: float = 0.0
    trusted_until_s: float = 0.0
    left_s: float = float("-inf")
    dwell_s: float = 0.0
    again: int = 0
    """How often it was taken again soon after it had been given back."""
    banned_until_s: float = float("-inf")
    bans: int = 0


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a ladder may know at one tick."""

    measured: tuple[MeasuredObjective, ...]
    load_rps: float
    served_share: float
    why_not: Callable[[Rung, Objective], str]
    """"" if a rung has something to act on for an objective now, else why it has not."""
    enough_without: Callable[[Action], bool]
    """Whether the promise would hold without an action, as far as can be predicted."""


class Climb(msgspec.Struct, frozen=True):
    action: Action
    seen: MeasuredObjective


class Judged(msgspec.Struct, frozen=True):
    """`rolled_back`: it is no longer in force."""

    action: Action
    verdict: Verdict
    rolled_back: bool


class Descend(msgspec.Struct, frozen=True):
    action: Action


class Stuck(msgspec.Struct, frozen=True):
    """The promise is broken and no rung can help; told once an episode. `reasons` by rung."""

    seen: MeasuredObjective
    reasons: tuple[str, ...]


Move = Climb | Judged | Descend | Stuck


class Ladder:
    """`number` gives fresh action numbers."""

    def __init__(
        self, rungs: Iterable[Rung], objectives: Iterable[Objective], number: Callable[[], int]
    ) -> None:
        self.rungs = tuple(rungs)
        self.objectives = {o.name: o for o in objectives}
        self.held: list[Action] = []
        self.flaps = 0
        self._number = number
        self._memory: dict[int, Memory] = {}
        self._proven: dict[str, int] = {}
        self._calm_since_s: float | None = None
        self._changed_s = float("-inf")
        self._stuck = False

    @property
    def pending(self) -> Action | None:
        """The action that is still to be judged."""
        return next((action for action in self.held if action.unjudged), None)

    def breached(self, measured: MeasuredObjective, confidence: float = 0.95) -> bool:
        """Whether a violation is proven. A rate of money is compared, a share of requests is tested."""
        objective = self.objectives[measured.objective]
        if objective.allowed is None:
            return measured.value is not None and measured.value > objective.target
        return proves_violation(measured.samples, measured.bad, objective.allowed, confidence)

    def renew(self, now_s: float) -> None:
        for action in self.held:
            action.lease_until_s = now_s + LEASE_S

    def lapsed(self, now_s: float) -> list[Action]:
        """Actions whose lease nobody renewed; they are in force no more."""
        gone = [action for action in self.held if action.lease_until_s <= now_s]
        for action in gone:
            self._leave(action, now_s)
        return gone

    def step(self, now_s: float, view: View) -> list[Move]:
        """One tick. The caller carries out the moves in order."""
        worst = self._proven_violation(view)
        self._note_calm(now_s, view)
        pending = self.pending
        if pending is not None:
            return self._judge(pending, now_s, view)
        if worst is not None:
            return self._climb(worst, now_s, view)
        self._stuck = False
        if self.held and self._may_leave(self.held[-1], now_s, view):
            return [self._descend(now_s)]
        return []

    # -- up -----------------------------------------------------------------------------

    def _proven_violation(self, view: View) -> MeasuredObjective | None:
        worst: MeasuredObjective | None = None
        for measured in view.measured:
            broken = self.breached(measured, CLIMB_CONFIDENCE)
            seen = self._proven.get(measured.objective, 0) + 1 if broken else 0
            self._proven[measured.objective] = seen
            if seen >= CONFIRM_TICKS and (
                worst is None or (measured.severity or 0.0) > (worst.severity or 0.0)
            ):
                worst = measured
        return worst

    def _climb(self, seen: MeasuredObjective, now_s: float, view: View) -> list[Move]:
        objective = self.objectives[seen.objective]
        reasons = []
        for index, rung in enumerate(self.rungs):
            why_not = self._why_not(index, rung, objective, now_s, view)
            if why_not:
                reasons.append(f"{rung.action}: {why_not}")
                continue
            action = Action(self._number(), index, rung, objective, now_s)
            self._enter(action, now_s, view)
            return [Climb(action, seen)]
        if self._stuck:
            return []
        self._stuck = True
        return [Stuck(seen, tuple(reasons))]

    def _why_not(
        self, index: int, rung: Rung, objective: Objective, now_s: float, view: View
    ) -> str:
        if any(action.index == index for action in self.held):
            return "held already"
        if objective.signal not in KINDS[rung.action].helps:
            return f"cannot help {objective.signal}"
        memory = self._memory.get(index)
        if memory is not None and now_s < memory.banned_until_s:
            return "did not help lately"
        return view.why_not(rung, objective)

    def _enter(self, action: Action, now_s: float, view: View) -> None:
        memory = self._memory.setdefault(action.index, Memory())
        away_s = now_s - memory.left_s
        if memory.dwell_s and away_s < FLAP_FACTOR * max(memory.dwell_s, CALM_S):
            self.flaps += 1
            memory.again = min(memory.again + 1, BACKOFF_MAX)
        memory.load_rps = view.load_rps
        memory.trusted_until_s = now_s + MEMORY_S * 2**memory.again
        self.held.append(action)
        self.held.sort(key=lambda held: held.since_s)
        self._changed(now_s)

    # -- judged -------------------------------------------------------------------------

    def _judge(self, action: Action, now_s: float, view: View) -> list[Move]:
        if action.trial is None:
            return []
        now = Now(load_rps=view.load_rps, served_share=view.served_share)
        verdict = action.trial.verdict(now, now_s)
        if verdict is None:
            return []
        action.verdict = verdict
        keep = verdict in ("confirmed", "confounded") or (
            verdict == "inconclusive" and action.index < KEPT_UNJUDGED
        )
        if keep:
            return [Judged(action, verdict, rolled_back=False)]
        self._leave(action, now_s)
        memory = self._memory[action.index]
        memory.banned_until_s = now_s + QUARANTINE_S * 2**memory.bans
        memory.bans = min(memory.bans + 1, BACKOFF_MAX)
        moves: list[Move] = [Judged(action, verdict, rolled_back=True)]
        still = self._still_broken(action, view)
        if verdict == "no_effect" and still is not None:
            moves += self._climb(still, now_s, view)
        return moves

    def _still_broken(self, action: Action, view: View) -> MeasuredObjective | None:
        """What the action was to mend, if its own trial says that it is still broken."""
        trial = action.trial
        for measured in view.measured:
            if measured.objective == action.objective.name and trial is not None:
                allowed = action.objective.allowed
                if allowed is None:
                    return measured if self.breached(measured) else None
                return measured if proves_violation(trial.n, trial.bad, allowed) else None
        return None

    # -- down ---------------------------------------------------------------------------

    def _note_calm(self, now_s: float, view: View) -> None:
        severities = [m.severity for m in view.measured if m.severity is not None]
        if any(severity > CALM for severity in severities):
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s

    def _may_leave(self, action: Action, now_s: float, view: View) -> bool:
        memory = self._memory[action.index]
        patience_s = CALM_S * 2**memory.again
        if self._calm_since_s is None or now_s - self._calm_since_s < patience_s:
            return False
        if now_s - self._changed_s < CALM_S:
            return False
        if not view.enough_without(action):
            return False
        relieved = view.load_rps < RELIEF * memory.load_rps
        return relieved or now_s >= memory.trusted_until_s or action.dry_run

    def _descend(self, now_s: float) -> Move:
        action = self.held[-1]
        self._leave(action, now_s)
        return Descend(action)

    def _leave(self, action: Action, now_s: float) -> None:
        self.held.remove(action)
        memory = self._memory[action.index]
        memory.left_s, memory.dwell_s = now_s, now_s - action.since_s
        self._changed(now_s)

    def _changed(self, now_s: float) -> None:
        self._changed_s = now_s
        self._proven.clear()
        self._calm_since_s = None
