"""Decisions in words that can be read aloud, with the numbers behind them beside. Nothing is decided here.

`switched model assistant -> assistant-small for interactive: ttft_p95 2.1 s > 0.8 s (41 of 200 late);
expect ttft_p95 < 0.8 s within 20 s`, and later `confirmed: 3 of 160 late`.
"""

from msgspec import structs

from contracts.catalog import Catalog
from contracts.control import LoopDecision, MeasuredObjective
from policies import rungs
from policies.ladder import Action, Climb, Judged, Stuck

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
        expected_share=round(trial.expected_share, 4) if trial is not None else None,
        expected_within_s=None if within_s is None else round(within_s, 3),
        load_rps=round(load_rps, 3),
        dry_run=action.dry_run,
    )


def judged(name: str, move: Judged, now_s: float) -> LoopDecision:
    """A verdict, and what became of the action."""
    action, trial = move.action, move.action.trial
    assert trial is not None
    if action.objective.signal.startswith("cost"):
        now_usd = trial.usd_per_request or 0.0
        proof = f"{now_usd:.3g} USD a request, {trial.before.usd_per_request:.3g} before"
    else:
        proof = f"{trial.bad} of {trial.n} late"
        if trial.held_n:
            proof += f", {trial.held_bad} of {trial.held_n} of those spared"
    said = f"{_VERDICTS[move.verdict]}: {proof} since: {action.words}"
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
        samples=trial.n,
        bad=trial.bad,
        verdict=move.verdict,
    )


def descend(name: str, action: Action, now_s: float) -> LoopDecision:
    held_s = now_s - action.since_s
    return _plain(
        name, "descend", f"no longer needed after {held_s:.0f} s: {action.words}", action, now_s
    )


def lapse(name: str, action: Action, now_s: float) -> LoopDecision:
    return _plain(name, "lapse", f"lapsed, nobody renewed it: {action.words}", action, now_s)


def stuck(name: str, move: Stuck, now_s: float) -> LoopDecision:
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


def _plain(name: str, kind: str, words: str, action: Action, now_s: float) -> LoopDecision:
    assert kind in ("descend", "lapse")
    return LoopDecision(
        seq=0,
        at_s=now_s,
        kind="descend" if kind == "descend" else "lapse",
        intent=name,
        words=words,
        action=action.number,
        rung=rungs.label(action.rung),
        dry_run=action.dry_run,
    )


def _why(seen: MeasuredObjective) -> str:
    if seen.objective == "error_rate":
        return f"error_rate {seen.bad} of {seen.samples}, promised {seen.target * 100:g}%"
    if seen.objective.startswith("cost"):
        return f"{seen.objective} {seen.value or 0.0:.3g} USD > {seen.target:.3g} USD"
    measured = "no first token in time" if seen.value is None else f"{_seconds(seen.value)}"
    sign = ">" if seen.value is not None and seen.value > seen.target else "against"
    return (
        f"{seen.objective} {measured} {sign} {_seconds(seen.target)} "
        f"({seen.bad} of {seen.samples} late or refused)"
    )


def _expected(action: Action) -> str:
    objective = action.objective
    if objective.signal.startswith("cost"):
        return f"{objective.name} < {objective.target:.3g} USD"
    if objective.signal == "error_rate":
        return f"error_rate < {objective.target * 100:g}%"
    share = action.trial.expected_share if action.trial is not None else 0.0
    return f"{objective.name} < {_seconds(objective.target)} for all but {share * 100:.0f}%"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1.0 else f"{value:.3g} s"
