"""What a decision log says of one intent's ladder, entry by entry: what is held, what is remembered of
rungs, when something changed last. It takes what it is told; whether an entry follows is
`policies.replay`'s to say.
"""

import msgspec

from contracts.control import LoopDecision
from contracts.policy import Intent
from policies.objectives import Objective, objectives_of
from policies.rung_memory import RungMemory
from policies.rung_rules import own_reason
from policies.rungs import label


class HeldEntry(msgspec.Struct):
    """An action in force: the entry that says so, and whether it has been judged."""

    taken: LoopDecision
    index: int
    objective: Objective
    judged: bool


class Book:
    """What the log says of one intent's ladder so far."""

    def __init__(self, intent: Intent) -> None:
        self.rungs = intent.ladder
        self.labels = [label(rung) for rung in intent.ladder]
        self.objectives = {o.name: o for o in objectives_of(intent)}
        self.held: dict[int, HeldEntry] = {}
        self.memory: dict[int, RungMemory] = {}
        self.changed_s = float("-inf")
        self.rolled_back: LoopDecision | None = None

    @property
    def pending(self) -> HeldEntry | None:
        return next((one for one in self.held.values() if not one.judged), None)

    def own_reason(self, index: int, objective: Objective, now_s: float) -> str:
        """Why the ladder itself would not take that rung now; "" if it would."""
        held = any(one.index == index for one in self.held.values())
        memory = self.memory.get(index)
        return own_reason(self.rungs[index], objective, memory, held=held, now_s=now_s)

    def proved_necessary(self, name: str, objective: Objective, now_s: float) -> bool:
        """Whether the rung of that label mended this objective not long ago."""
        index = self.labels.index(name) if name in self.labels else -1
        memory = self.memory.get(index)
        return memory is not None and memory.needed_again(objective.name, now_s)

    def take(self, climb: LoopDecision, index: int, objective: Objective) -> None:
        """An action is in force from now on. One that only rehearses is never judged."""
        memory = self.memory.setdefault(index, RungMemory())
        memory.entered(climb.load_rps or 0.0, climb.at_s)
        self.held[climb.action or 0] = HeldEntry(climb, index, objective, judged=climb.dry_run)
        self.changed_s = climb.at_s

    def leave(self, number: int, now_s: float) -> RungMemory:
        """It is no longer in force. What is remembered of its rung is the caller's to go on with."""
        gone = self.held.pop(number)
        memory = self.memory[gone.index]
        memory.left(gone.taken.at_s, now_s)
        self.changed_s = now_s
        return memory
