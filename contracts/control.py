"""What the control loop says: how each promise stands, what was decided, whether it worked.

Values for the decision log, `GET /v1/intents`, `GET /v1/decisions` and the simulator's report.
"""

from typing import Literal

import msgspec

Standing = Literal["met", "at_risk", "breached", "unknown"]
"""`unknown`: too little was measured to say anything."""
Verdict = Literal["confirmed", "no_effect", "harmful", "confounded", "inconclusive"]
DecisionKind = Literal[
    "climb",  # an action was taken
    "descend",  # it is no longer needed
    "verdict",  # it was judged
    "rollback",  # it was judged and taken back
    "lapse",  # nobody renewed its lease
    "pass_over",  # the promise is broken, and nothing on the ladder can help
    "limit",  # a concurrency limit changed its regime
    "honour",  # the infrastructure does not do what the intent asks
    "policy",  # the policies were replaced
]


class MeasuredObjective(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a promise, measured over the intent's window.

    `target` and `value` are seconds, a share, or USD. `bad` of `samples` requests missed the target;
    refused ones and those still waiting past it among them. `severity` is measured / promised, at
    most 2.
    """

    objective: str
    target: float
    value: float | None
    samples: int
    bad: int
    severity: float | None


class HeldAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action in force."""

    id: int
    rung: str
    words: str
    held_s: float
    """How long it has been in force."""
    verdict: Verdict | None = None
    dry_run: bool = False


class IntentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one promise stands."""

    intent: str
    standing: Standing
    standing_s: float
    """How long it has stood so."""
    objectives: tuple[MeasuredObjective, ...]
    rung: int
    """How many rungs of the ladder are held."""
    ladder: tuple[str, ...]
    actions: tuple[HeldAction, ...]
    requests_per_s: float
    refused_per_s: float
    shed_per_s: float
    inflight: int
    waiting: int


class LoopDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the decision log: `words` is what a person reads, the rest is the numbers behind it.

    `action` numbers an action; its verdict carries the same number. `at_s` is on the loop's clock.
    """

    seq: int
    at_s: float
    kind: DecisionKind
    intent: str
    words: str
    action: int | None = None
    rung: str | None = None
    pool: str | None = None
    objective: str | None = None
    measured: float | None = None
    target: float | None = None
    samples: int | None = None
    bad: int | None = None
    expected_share: float | None = None
    expected_within_s: float | None = None
    load_rps: float | None = None
    verdict: Verdict | None = None
    dry_run: bool = False


class LoggedDecision(LoopDecision, frozen=True, kw_only=True, omit_defaults=True):
    """A decision with the date it was made at."""

    time: str
