"""What the ladder decides by, as functions of numbers: what proves a violation, why a rung is not taken,
whether an action is kept. The ladder uses them as it goes, `policies.replay` on what it has logged; neither
has a rule beside these.
"""

from contracts.control import MeasuredObjective, Verdict
from contracts.policy import Rung
from policies.evidence import proves_violation
from policies.objectives import Objective
from policies.rung_memory import RungMemory
from policies.rungs import KINDS

CLIMB_CONFIDENCE = 0.995
"""One look at 95% is right 19 times of 20; four looks a second at a sliding window are not. This, on
two ticks, keeps a promise that is just kept from being taken for a broken one about once an hour."""
BREACHED_CONFIDENCE = 0.95
"""Enough to say how a promise stands, and to go on after an action that had no effect."""
KEPT_UNJUDGED = 2
"""An action that could not be judged is kept if it is one of the first so many rungs."""
COST_RELIEF = 0.9


def broken(measured: MeasuredObjective, objective: Objective, confidence: float) -> bool:
    """Whether what was measured proves that the objective is not kept."""
    if objective.allowed is None:
        return measured.value is not None and measured.value > objective.target
    return proves_violation(measured.samples, measured.bad, objective.allowed, confidence)


def own_reason(
    rung: Rung, objective: Objective, memory: RungMemory | None, *, held: bool, now_s: float
) -> str:
    """Why a ladder itself does not take a rung, whatever the world is like; "" if it would."""
    if held:
        return "held already"
    if objective.signal not in KINDS[rung.action].helps:
        return f"cannot help {objective.signal}"
    if memory is not None and memory.banned(now_s):
        return "did not help lately"
    return ""


def cheap_enough(usd: float, objective: Objective) -> bool:
    """Whether a promise of cost would hold, with room to spare, if it measured this much."""
    return usd <= COST_RELIEF * objective.target


def is_kept(verdict: Verdict, index: int) -> bool:
    """Whether an action on the rung of that index stays in force after its verdict."""
    return verdict in ("confirmed", "confounded") or (
        verdict == "inconclusive" and index < KEPT_UNJUDGED
    )
