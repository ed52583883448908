"""Did an action do what it was expected to do? One action's expectation, and the evidence since.

Only requests that arrived after the action had settled count; those it spared on purpose are counted
beside them. Must stay true: a verdict is a function of the numbers that are logged with it; too few
requests have none; a fall in load is never taken for the action's success.

Two sequential tests on exceedances look at all that came so far: does the share of late ones go where
it was expected, or stay where it was? And is it worse than that? Comparing two p95s cannot say, and
errs more the more often one looks. For what a pool-level action changes there is no control group,
since it changes everybody's wait; the counterfactual is the share of before, and what could be
served of today's load without it (drain / load). So an action is called harmful for late requests
only where those it spared do better; without such, what got worse may just have gone on getting worse.
Source: control.md C4; Wald 1945; llm-d's reclamation is as stop-and-wait as this.
"""

from typing import Literal

import msgspec

from contracts.control import TrialNumbers, Verdict
from policies.objectives import Objective
from policies.sequential_test import SequentialTest

JUDGE_MIN_S, JUDGE_MAX_S = 20.0, 90.0
SAMPLES_WANTED = 60
LOAD_CHANGE = 0.2
"""Arrivals that changed by more than this explain anything that got better (or worse) meanwhile."""
MIN_SAMPLES = 20
"""Fewer say nothing, whatever they show: late ones come in bursts, where a test takes each for news."""
COST_EFFECT = 0.9
CUT_SHORT_MAX = 0.5
"""Share of answers that end by a cap, above which the cap does more harm than waiting would."""
EXPECTED = 0.6
"""Of the late share before, what is expected to be left at most. A partial help is a help."""
LEAST_BEFORE = 3.0
"""The share that "no effect" predicts is at least this many times the allowed one, or half-way from
there to all, if that is less."""
WORSE_THAN_SPARED = 1.5
Harm = Literal["errors", "cut_short", "late"]


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What things were like when the action was taken. Shares are of requests."""

    late_share: float
    load_rps: float
    """Of all who share its pools."""
    own_rps: float
    """Of the intent alone: how soon there can be enough to judge by."""
    error_share: float
    usd_per_request: float


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict needs to know beside its own counts."""

    load_rps: float
    served_share: float
    """What could be served of today's load without the action: drain / load, at most 1."""


class Trial:
    """One action's. Times are on the loop's clock."""

    def __init__(
        self, objective: Objective, before: Before, *, now_s: float, settle_s: float
    ) -> None:
        self.objective = objective
        self.before = before
        self.counts_from_s = now_s + settle_s
        wanted_s = SAMPLES_WANTED / before.own_rps if before.own_rps > 0 else JUDGE_MAX_S
        self.judge_by_s = self.counts_from_s + min(max(wanted_s, JUDGE_MIN_S), JUDGE_MAX_S)
        self.n = self.bad = 0
        self.held_n = self.held_bad = 0
        self._ended = self._errors = self._cut_short = 0
        self._usd = 0.0
        self.expected_share, self.otherwise_share = expectation(objective, before.late_share)

    @property
    def usd_per_request(self) -> float | None:
        return self._usd / self._ended if self._ended else None

    def saw(self, bad: bool, *, arrived_s: float, held_out: bool) -> None:
        """A request was judged by the objective's signal."""
        if arrived_s < self.counts_from_s:
            return
        if held_out:
            self.held_n += 1
            self.held_bad += bad
            return
        self.n += 1
        self.bad += bad

    def ended(
        self, *, arrived_s: float, failed: bool, cut_short: bool, usd: float, held_out: bool
    ) -> None:
        """A request met its end, judged or not."""
        if arrived_s < self.counts_from_s or held_out:
            return
        self._ended += 1
        self._errors += failed
        self._cut_short += cut_short
        self._usd += usd

    def numbers(self, now: Now, now_s: float) -> TrialNumbers:
        """All that a verdict follows from, as it is now."""
        return TrialNumbers(
            expected_share=self.expected_share,
            otherwise_share=self.otherwise_share,
            late_share_before=round(self.before.late_share, 4),
            error_share_before=round(self.before.error_share, 4),
            usd_per_request_before=round(self.before.usd_per_request, 9),
            load_before_rps=self.before.load_rps,
            load_rps=now.load_rps,
            served_share=round(now.served_share, 4),
            samples=self.n,
            bad=self.bad,
            spared=self.held_n,
            spared_bad=self.held_bad,
            ended=self._ended,
            errors=self._errors,
            cut_short=self._cut_short,
            usd=round(self._usd, 9),
            overdue=now_s >= self.judge_by_s,
        )


def expectation(objective: Objective, late_share: float) -> tuple[float, float]:
    """The share of late ones that is expected of an action, and the one that is left without effect,
    where it was `late_share` before."""
    allowed = objective.allowed or 0.05
    least = min(LEAST_BEFORE * allowed, (1.0 + allowed) / 2)
    otherwise = min(max(late_share, least), 0.9)
    expected = min(max(allowed, EXPECTED * late_share), otherwise / 1.5)
    return round(expected, 6), round(otherwise, 6)


def verdict_of(seen: TrialNumbers, objective: Objective) -> Verdict | None:
    """The verdict that these numbers give; None: it is too early to say."""
    if harm_of(seen) is not None:
        return "harmful"
    if objective.signal in ("cost_per_minute", "cost_per_request"):
        found = _cost_verdict(seen)
    else:
        found = _late_verdict(seen)
    return "inconclusive" if found is None and seen.overdue else found


def harm_of(seen: TrialNumbers) -> Harm | None:
    """Guards that hold whatever the objective says: which of them was set off, if any."""
    if seen.ended >= MIN_SAMPLES:
        if seen.errors > max(2.0 * seen.error_share_before, 0.05) * seen.ended + 2:
            return "errors"
        if seen.cut_short > CUT_SHORT_MAX * seen.ended:
            return "cut_short"
    if min(seen.samples, seen.spared) < MIN_SAMPLES:
        return None
    worse = min(seen.otherwise_share + (1.0 - seen.otherwise_share) / 2, 0.97)
    harm = SequentialTest(
        expected=seen.otherwise_share, otherwise=worse, n=seen.samples, bad=seen.bad
    )
    worse_off = seen.bad * seen.spared > WORSE_THAN_SPARED * seen.spared_bad * seen.samples
    return "late" if harm.verdict == "not" and worse_off else None


def _late_verdict(seen: TrialNumbers) -> Verdict | None:
    if seen.samples < MIN_SAMPLES:
        return None
    effect = SequentialTest(
        expected=seen.expected_share,
        otherwise=seen.otherwise_share,
        n=seen.samples,
        bad=seen.bad,
    )
    match effect.verdict:
        case "open":
            return None
        case "as_expected":
            if seen.ended < MIN_SAMPLES and not seen.overdue:
                return None  # first tokens come before errors and cut answers do
            fell = seen.load_rps < (1.0 - LOAD_CHANGE) * seen.load_before_rps
            return "confounded" if fell else "confirmed"
        case "not":
            # More load than before: what stayed the same would have got worse without it.
            without = max(seen.late_share_before, 1.0 - seen.served_share)
            more = seen.load_rps > (1.0 + LOAD_CHANGE) * seen.load_before_rps
            helped = seen.bad / seen.samples < without / 1.5
            return "confounded" if more and helped else "no_effect"


def _cost_verdict(seen: TrialNumbers) -> Verdict | None:
    """A request's cost does not depend on how many come, so load cannot confound it."""
    if seen.ended < MIN_SAMPLES or seen.usd_per_request_before <= 0.0:
        return None
    cheaper = seen.usd / seen.ended <= COST_EFFECT * seen.usd_per_request_before
    return "confirmed" if cheaper else "no_effect"
