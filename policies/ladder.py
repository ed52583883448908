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

from contracts.control import MeasuredObjective, TrialNumbers, Verdict
from contracts.policy import Rung
from policies.objectives import Objective
from policies.rung_memory import RungMemory
from policies.rung_rules import (
    BREACHED_CONFIDENCE,
    CLIMB_CONFIDENCE,
    broken,
    cheap_enough,
    is_kept,
    own_reason,
)
from policies.rungs import label
from policies.trial import Now, Trial, verdict_of

LEASE_S = 60.0
CONFIRM_TICKS = 2
CALM = 0.6
"""Severity below which a promise is kept with room to spare."""
CALM_TPOT = 0.85
"""... for TPOT, which the limit steers to its objective: it is far below only where nearly nothing runs."""
AT_RISK = 0.85


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
    def cuts(self) -> bool:
        """Whether it ends answers before their time."""
        return self.rung.action == "cap_tokens"

    @property
    def unjudged(self) -> bool:
        return self.verdict is None and not self.dry_run


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a ladder may know at one tick."""

    measured: tuple[MeasuredObjective, ...]
    load_rps: float
    served_share: float
    why_not: Callable[[Rung, Objective], str]
    """"" if a rung has something to act on for an objective now, else why it has not."""
    cost_without: Callable[[Action], float | None]
    """What a promise of cost would measure without an action; None: it is no promise of cost."""


class Climb(msgspec.Struct, frozen=True):
    """`passed_over`: gentler rungs, each with the reason why it was not taken. `escalates`: the action
    that had no effect, whose trial is the evidence."""

    action: Action
    seen: MeasuredObjective
    passed_over: tuple[str, ...] = ()
    escalates: int | None = None


class Judged(msgspec.Struct, frozen=True):
    """`rolled_back`: it is no longer in force."""

    action: Action
    verdict: Verdict
    rolled_back: bool
    numbers: TrialNumbers


class Descend(msgspec.Struct, frozen=True):
    """After `calm_s` of calm, at `load_rps`, where it was needed at `needed_rps`. `usd` is what a promise
    of cost would measure without it."""

    action: Action
    calm_s: float
    load_rps: float
    usd: float | None
    needed_rps: float


class Stuck(msgspec.Struct, frozen=True):
    """The promise is broken and no rung can help; told once an episode. `reasons` by rung."""

    seen: MeasuredObjective
    reasons: tuple[str, ...]
    escalates: int | None = None


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
        self._memory: dict[int, RungMemory] = {}
        self._proven: dict[str, int] = {}
        self._calm_since_s: float | None = None
        self._stuck = False

    @property
    def pending(self) -> Action | None:
        """The action that is still to be judged."""
        return next((action for action in self.held if action.unjudged), None)

    def breached(
        self, measured: MeasuredObjective, confidence: float = BREACHED_CONFIDENCE
    ) -> bool:
        """Whether a violation is proven. A rate of money is compared, a share of requests is tested."""
        return broken(measured, self.objectives[measured.objective], confidence)

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
        for action in self.held[-1:]:  # a load that came later is the newer rung's affair
            self._memory[action.index].still(view.load_rps, action.since_s, now_s)
        pending = self.pending
        if pending is not None:
            return self._judge(pending, now_s, view)
        if worst is not None:
            return self._climb(worst, now_s, view)
        known = [one.severity for one in view.measured if one.severity is not None]
        if known and max(known) <= 1.0:
            self._stuck = False
        if self.held and self._may_leave(self.held[-1], now_s, view):
            return [self._descend(now_s, view)]
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

    def _climb(
        self, seen: MeasuredObjective, now_s: float, view: View, escalates: int | None = None
    ) -> list[Move]:
        objective = self.objectives[seen.objective]
        needed = self._needed_again(objective, now_s, view)
        reasons = []
        for index, rung in enumerate(self.rungs):
            why_not = self._why_not(index, rung, objective, now_s, view)
            if not why_not and needed is not None and index < needed:
                why_not = f"{label(self.rungs[needed])} proved necessary lately"
            if why_not:
                reasons.append(f"{label(rung)}: {why_not}")
                continue
            action = Action(self._number(), index, rung, objective, now_s)
            self._enter(action, now_s, view)
            return [Climb(action, seen, tuple(reasons), escalates)]
        if self._stuck:
            return []
        self._stuck = True
        return [Stuck(seen, tuple(reasons), escalates)]

    def _needed_again(self, objective: Objective, now_s: float, view: View) -> int | None:
        """The rung that mended this objective not long ago, if it can be taken now."""
        for index, rung in enumerate(self.rungs):
            memory = self._memory.get(index)
            if memory is not None and memory.needed_again(objective.name, now_s):
                return None if self._why_not(index, rung, objective, now_s, view) else index
        return None

    def _why_not(
        self, index: int, rung: Rung, objective: Objective, now_s: float, view: View
    ) -> str:
        held = any(action.index == index for action in self.held)
        mine = own_reason(rung, objective, self._memory.get(index), held=held, now_s=now_s)
        return mine or view.why_not(rung, objective)

    def _enter(self, action: Action, now_s: float, view: View) -> None:
        memory = self._memory.setdefault(action.index, RungMemory())
        self.flaps += memory.entered(view.load_rps, now_s)
        self.held.append(action)
        self.held.sort(key=lambda held: held.since_s)
        self._changed()

    # -- judged -------------------------------------------------------------------------

    def _judge(self, action: Action, now_s: float, view: View) -> list[Move]:
        if action.trial is None:
            return []
        now = Now(load_rps=view.load_rps, served_share=view.served_share)
        numbers = action.trial.numbers(now, now_s)
        verdict = verdict_of(numbers, action.objective)
        if verdict is None:
            return []
        action.verdict = verdict
        memory = self._memory[action.index]
        if is_kept(verdict, action.index):
            if verdict == "confirmed":
                memory.proved(action.objective.name)
            return [Judged(action, verdict, False, numbers)]
        self._leave(action, now_s)
        memory.ban(now_s)
        moves: list[Move] = [Judged(action, verdict, True, numbers)]
        still = self._still_broken(action, numbers, view)
        if verdict == "no_effect" and still is not None:
            moves += self._climb(still, now_s, view, escalates=action.number)
        return moves

    def _still_broken(
        self, action: Action, numbers: TrialNumbers, view: View
    ) -> MeasuredObjective | None:
        """What the action was to mend, if its own trial says that it is still broken."""
        for measured in view.measured:
            if measured.objective == action.objective.name:
                if action.objective.allowed is not None:
                    measured = msgspec.structs.replace(
                        measured, samples=numbers.samples, bad=numbers.bad
                    )
                return measured if self.breached(measured) else None
        return None

    # -- down ---------------------------------------------------------------------------

    def _note_calm(self, now_s: float, view: View) -> None:
        """Calm is a matter of what the newest action was taken for: that something else is only just
        kept is no reason to hold it."""
        mine = self.held[-1].objective if self.held else None
        severity = next(
            (m.severity for m in view.measured if mine and m.objective == mine.name), None
        )
        bound = CALM_TPOT if mine is not None and mine.signal == "tpot" else CALM
        if severity is not None and severity > bound:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s

    def _may_leave(self, action: Action, now_s: float, view: View) -> bool:
        memory = self._memory[action.index]
        if self._calm_since_s is None or now_s - self._calm_since_s < memory.patience_s:
            return False
        usd = view.cost_without(action)
        if usd is not None and not cheap_enough(usd, action.objective):
            return False
        return memory.relieved(view.load_rps, now_s) or action.dry_run

    def _descend(self, now_s: float, view: View) -> Move:
        action, since_s = self.held[-1], self._calm_since_s
        calm_s = 0.0 if since_s is None else now_s - since_s
        needed_rps = self._memory[action.index].load_rps
        self._leave(action, now_s)
        usd = view.cost_without(action)
        return Descend(action, calm_s, view.load_rps, usd, needed_rps)

    def _leave(self, action: Action, now_s: float) -> None:
        self.held.remove(action)
        self._memory[action.index].left(action.since_s, now_s)
        self._changed()

    def _changed(self) -> None:
        """What was proven, and the calm there was, were those of before."""
        self._proven.clear()
        self._calm_since_s = None
