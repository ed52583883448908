"""Did an action do what it was expected to do? One action's expectation, and the evidence since.

Only requests that arrived after the action had settled count, and only those it treated; those it
spared on purpose are counted beside them. Must stay true: a verdict once reached stays; a fall in
load is never taken for the action's success.

Two sequential tests on exceedances look at every request: does the share of late ones go where it
was expected, or stay where it was? And is it worse than before? Comparing two p95s cannot say, and
errs more the more often one looks. For what a pool-level action changes there is no control group,
since it changes everybody's wait; the counterfactual is the share of before, and what could be
served of today's load without it (drain / load).
Source: control.md C4; Wald 1945; llm-d's reclamation is as stop-and-wait as this.
"""

import msgspec

from contracts.control import Verdict
from policies.objectives import Objective
from policies.sequential_test import SequentialTest

JUDGE_MIN_S, JUDGE_MAX_S = 20.0, 90.0
SAMPLES_WANTED = 60
LOAD_CHANGE = 0.2
"""Arrivals that changed by more than this explain anything that got better (or worse) meanwhile."""
COST_SAMPLES = 20
COST_EFFECT = 0.9
CUT_SHORT_MAX = 0.5
"""Share of answers that end by a cap, above which the cap does more harm than waiting would."""
EXPECTED = 0.6
"""Of the late share before, what is expected to be left at most. A partial help is a help."""
LEAST_BEFORE = 3.0
"""The share that "no effect" predicts is at least this many times the allowed one."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What things were like when the action was taken. Shares are of requests."""

    late_share: float
    load_rps: float
    error_share: float
    usd_per_request: float


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict needs to know beside its own counts. `errors` of `ended` since the action."""

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
        wanted_s = SAMPLES_WANTED / before.load_rps if before.load_rps > 0 else JUDGE_MAX_S
        self.judge_by_s = self.counts_from_s + min(max(wanted_s, JUDGE_MIN_S), JUDGE_MAX_S)
        self.n = self.bad = 0
        self.held_n = self.held_bad = 0
        self._ended = self._errors = self._cut_short = 0
        self._usd = 0.0
        allowed = objective.allowed or 0.05
        otherwise = min(max(before.late_share, LEAST_BEFORE * allowed), 0.9)
        self.expected_share = min(max(allowed, EXPECTED * before.late_share), otherwise / 1.5)
        self._effect = SequentialTest(expected=self.expected_share, otherwise=otherwise)
        worse = min(otherwise + (1.0 - otherwise) / 2, 0.97)
        self._harm = SequentialTest(expected=otherwise, otherwise=worse)

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
        self._effect = self._effect.seen(not bad, bad)
        self._harm = self._harm.seen(not bad, bad)

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

    def verdict(self, now: Now, now_s: float) -> Verdict | None:
        """None: it is too early to say."""
        if self._harmed():
            return "harmful"
        if self.objective.signal in ("cost_per_minute", "cost_per_request"):
            found = self._cost_verdict()
        else:
            found = self._late_verdict(now)
        if found is None and now_s >= self.judge_by_s:
            return "inconclusive"
        return found

    def _harmed(self) -> bool:
        """Guards that hold whatever the objective says: errors, answers cut short, and late shares."""
        if self._ended >= COST_SAMPLES:
            if self._errors > max(2.0 * self.before.error_share, 0.05) * self._ended + 2:
                return True
            if self._cut_short > CUT_SHORT_MAX * self._ended:
                return True
        return self._harm.verdict == "not" and self._effect.verdict == "not" and self._all_worse()

    def _all_worse(self) -> bool:
        """Worse than before, and than those it spared, if it spared any."""
        if self.held_n >= COST_SAMPLES:
            return self.bad * self.held_n > self.held_bad * self.n * 1.5
        return self.n >= COST_SAMPLES

    def _late_verdict(self, now: Now) -> Verdict | None:
        match self._effect.verdict:
            case "open":
                return None
            case "as_expected":
                if now.load_rps < (1.0 - LOAD_CHANGE) * self.before.load_rps:
                    return "confounded"
                return "confirmed"
            case "not":
                # More load than before: what stayed the same would have got worse without it.
                without = max(self.before.late_share, 1.0 - now.served_share)
                more = now.load_rps > (1.0 + LOAD_CHANGE) * self.before.load_rps
                helped = self.n > 0 and self.bad / self.n < without / 1.5
                return "confounded" if more and helped else "no_effect"

    def _cost_verdict(self) -> Verdict | None:
        """A request's cost does not depend on how many come, so load cannot confound it."""
        if self._ended < COST_SAMPLES or self.before.usd_per_request <= 0.0:
            return None
        cheaper = self._usd / self._ended <= COST_EFFECT * self.before.usd_per_request
        return "confirmed" if cheaper else "no_effect"
