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


class TrialNumbers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a verdict follows from: what was expected of an action, and what came since.

    Shares are of requests. `before` is what things were like when the action was taken. Of those
    that arrived since it had settled, `bad` of `samples` missed the objective, `spared_bad` of
    `spared` among those it spared to compare with; `ended` met their end.
    """

    expected_share: float
    otherwise_share: float
    """What is left of late ones if the action has no effect."""
    late_share_before: float = 0.0
    error_share_before: float = 0.0
    usd_per_request_before: float = 0.0
    load_before_rps: float = 0.0
    load_rps: float = 0.0
    served_share: float = 1.0
    """Of what comes now, what is served."""
    samples: int = 0
    bad: int = 0
    spared: int = 0
    spared_bad: int = 0
    ended: int = 0
    errors: int = 0
    cut_short: int = 0
    usd: float = 0.0
    """All that the ended ones cost."""
    overdue: bool = False
    """The time to say something is over."""


class LoopDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the decision log: `words` is what a person reads, the rest is the numbers behind it.

    `action` numbers an action; its verdict carries the same number. `at_s` is on the loop's clock.
    `policies.replay` makes each of them again from these numbers.
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
    allowed: float | None = None
    """The share of `samples` that may miss the target; None for a rate of money."""
    escalates: int | None = None
    """The action that had no effect: `samples` and `bad` are those of its own trial."""
    passed_over: tuple[str, ...] = ()
    """Gentler rungs that were not taken, each with its reason."""
    expected_share: float | None = None
    expected_within_s: float | None = None
    load_rps: float | None = None
    needed_rps: float | None = None
    """The load that an action was needed at, which a `descend` is well below of."""
    for_s: float | None = None
    """How long there was calm, before a `descend`; how long nobody had renewed it, before a `lapse`."""
    trial: TrialNumbers | None = None
    """What a verdict follows from."""
    verdict: Verdict | None = None
    dry_run: bool = False


class LoggedDecision(LoopDecision, frozen=True, kw_only=True, omit_defaults=True):
    """A decision with the date it was made at."""

    time: str
