"""Decisions in words that can be read aloud, with the numbers behind them beside. Nothing is decided here.

`switched model assistant -> assistant-small for interactive: ttft_p95 2.1 s > 0.8 s (41 of 200 late);
expect ttft_p95 < 0.8 s within 20 s`, and later `confirmed: 3 of 160 late`.
"""

from collections.abc import Sequence

from msgspec import structs

from contracts.catalog import Catalog
from contracts.control import DecisionKind, LoopDecision, MeasuredObjective
from policies import rungs
from policies.ladder import LEASE_S, Action, Climb, Descend, Judged, Stuck
from policies.trial import harm_of

_VERDICTS = {
    "confirmed": "confirmed",
    "no_effect": "no effect",
    "harmful": "harmful",
    "confounded": "confounded by a change of load",
    "inconclusive": "inconclusive",
}


def numbered(decision: LoopDecision, seq: int) -> LoopDecision:
    return structs.replace(decision, seq=seq)


def climb(
    name: str, move: Climb, usual: str, catalog: Catalog, load_rps: float, now_s: float
) -> LoopDecision:
    """An action was taken; its words are kept with it."""
    action, seen = move.action, move.seen
    action.words = rungs.words(action.rung, name, usual, catalog)
    said = action.words
    if action.dry_run:
        said = f"would have {said} (dry run)"
    said += f": {_why(seen)}"
    trial = action.trial
    within_s = None
    if trial is not None:
        within_s = trial.judge_by_s - now_s
        said += f"; expect {_expected(action)} within {within_s:.0f} s"
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind="climb",
        intent=name,
        words=said,
        action=action.number,
        rung=rungs.label(action.rung),
        pool=",".join(sorted(action.pools)) or None,
        objective=seen.objective,
        measured=seen.value,
        target=seen.target,
        samples=seen.samples or None,
        bad=seen.bad if seen.samples else None,
        allowed=action.objective.allowed,
        escalates=move.escalates,
        passed_over=move.passed_over,
        expected_share=None if trial is None else trial.expected_share,
        expected_within_s=None if within_s is None else round(within_s, 3),
        load_rps=load_rps,
        dry_run=action.dry_run,
    )


def judged(name: str, move: Judged, now_s: float) -> LoopDecision:
    """A verdict, and what became of the action."""
    action, numbers = move.action, move.numbers
    said = f"{_VERDICTS[move.verdict]}: {_proof(move)} since: {action.words}"
    if move.rolled_back:
        said = f"rolled back, {said}"
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind="rollback" if move.rolled_back else "verdict",
        intent=name,
        words=said,
        action=action.number,
        rung=rungs.label(action.rung),
        objective=action.objective.name,
        target=action.objective.target,
        samples=numbers.samples,
        bad=numbers.bad,
        verdict=move.verdict,
        trial=numbers,
    )


def descend(name: str, move: Descend, now_s: float) -> LoopDecision:
    """An action was given back: there was calm for long enough, at a load that does not need it."""
    action = move.action
    said = f"no longer needed after {now_s - action.since_s:.0f} s: {action.words}"
    told = _ended(name, "descend", said, action, now_s)
    return structs.replace(
        told,
        objective=action.objective.name,
        target=action.objective.target,
        measured=move.usd,
        load_rps=move.load_rps,
        needed_rps=move.needed_rps,
        for_s=move.calm_s,
    )


def lapse(name: str, action: Action, now_s: float) -> LoopDecision:
    """An action's lease ran out."""
    said = f"lapsed, nobody renewed it: {action.words}"
    told = _ended(name, "lapse", said, action, now_s)
    return structs.replace(told, for_s=now_s - (action.lease_until_s - LEASE_S))


def replaced(name: str, held: Sequence[Action], now_s: float) -> LoopDecision:
    """New policies change what an intent was promised, or its ladder."""
    ended = ", ".join(action.words for action in held)
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind="policy",
        intent=name,
        words=f"new policies for {name}: its ladder begins at its foot"
        + (f"; no longer in force: {ended}" if ended else ""),
    )


def stuck(name: str, move: Stuck, allowed: float | None, now_s: float) -> LoopDecision:
    """No rung can help: said once, with each rung's reason."""
    reasons = "; ".join(move.reasons) or "its ladder is empty"
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind="pass_over",
        intent=name,
        words=f"nothing to do for {name}: {_why(move.seen)} ({reasons})",
        objective=move.seen.objective,
        measured=move.seen.value,
        target=move.seen.target,
        samples=move.seen.samples or None,
        bad=move.seen.bad if move.seen.samples else None,
        allowed=allowed,
        escalates=move.escalates,
        passed_over=move.reasons,
    )


def limit(lane: tuple[str, str], reason: str, limit: float, now_s: float) -> LoopDecision:
    """A limit gave up its objective."""
    pool, model = lane
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind="limit",
        intent="",
        pool=pool,
        words=f"opened the limit of {model} in {pool} to {limit:.0f}: "
        f"even one request at a time is slower than its tpot objective",
    )


def _ended(name: str, kind: DecisionKind, words: str, action: Action, now_s: float) -> LoopDecision:
    """An action that is no longer in force."""
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind=kind,
        intent=name,
        words=words,
        action=action.number,
        rung=rungs.label(action.rung),
        dry_run=action.dry_run,
    )


_MISSED = {"error_rate": "failed", "cost_per_request": "dearer", "tpot": "slow"}
"""What a request was that missed its objective; of the others it is said that they were late."""


def _why(seen: MeasuredObjective) -> str:
    missed = "slow" if seen.objective.startswith("tpot") else "late or refused"
    missed = _MISSED.get(seen.objective, missed)
    counts = f"({seen.bad} of {seen.samples} {missed})"
    if seen.objective == "error_rate":
        share = seen.bad / seen.samples if seen.samples else 0.0
        return f"error_rate {share * 100:.2g}% > {seen.target * 100:g}% {counts}"
    if seen.objective == "cost_per_minute":
        return f"cost_per_minute {seen.value or 0.0:.3g} USD > {seen.target:.3g} USD"
    if seen.objective == "cost_per_request":
        return (
            f"cost_per_request {seen.value or 0.0:.3g} USD against {seen.target:.3g} USD {counts}"
        )
    if seen.value is not None and seen.value > seen.target:
        return f"{seen.objective} {_seconds(seen.value)} > {_seconds(seen.target)} {counts}"
    # Those that were answered were in time, or none was: the rest is what breaks the promise.
    return f"{seen.objective} {_seconds(seen.target)} not kept {counts}"


def _proof(move: Judged) -> str:
    """The numbers of a verdict that people want to hear."""
    numbers, signal = move.numbers, move.action.objective.signal
    match harm_of(numbers):
        case "errors":
            return f"{numbers.errors} of {numbers.ended} failed"
        case "cut_short":
            return f"{numbers.cut_short} of {numbers.ended} answers were cut short"
    if signal.startswith("cost"):
        usd = numbers.usd / numbers.ended if numbers.ended else 0.0
        return f"{usd:.3g} USD a request, {numbers.usd_per_request_before:.3g} before"
    proof = f"{numbers.bad} of {numbers.samples} {_MISSED.get(signal, 'late')}"
    if numbers.spared:
        proof += f", {numbers.spared_bad} of {numbers.spared} of those spared"
    return proof


def _expected(action: Action) -> str:
    objective = action.objective
    if objective.signal.startswith("cost"):
        return f"{objective.name} < {objective.target:.3g} USD"
    if objective.signal == "error_rate":
        return f"error_rate < {objective.target * 100:g}%"
    share = action.trial.expected_share if action.trial is not None else 0.0
    return f"{objective.name} < {_seconds(objective.target)} for all but {share * 100:.0f}%"


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"
