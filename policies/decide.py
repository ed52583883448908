"""The brain's answer to one request: `decide`, a pure function of its arguments.

Regimes: an intent is picked; every rule that matches adds to the shape, in order, and later rules
see what earlier ones did; then what the control loop holds for the intent has its say; the shape is
checked once more against the quality floor and becomes a `Decision`. The same arguments give the same answer, so a decision can be replayed from
its record. Nothing but a `GatewayError` leaves here, and nothing is carried out here.
"""

import hashlib
from functools import lru_cache
from typing import Any

from msgspec import structs

from contracts.catalog import Catalog
from contracts.decision import (
    Decision,
    IntentOutcome,
    Rejection,
    RuleOutcome,
    RuleVerdict,
    Shaping,
)
from contracts.errors import BelowQualityFloor, GatewayError, ModelNotFound, NoReadyBackend
from contracts.inference import Constraints, RequestFacts
from contracts.problems import did_you_mean
from contracts.snapshot import Snapshot
from policies import intents
from policies.conditions import Condition
from policies.context import EvaluationContext, pool_of
from policies.effects import Effect, Shape, apply, begin, hold
from policies.held import CALM, HOLDOUT, NO_DRAWS, PROTECTED_ABOVE, Decline, Draws, Holding
from policies.policy_set import CompiledRule, PolicySet
from policies.quality import why_below, worthy
from policies.rule_index import Numbers
from policies.usual import Usual

FAIRNESS_ID_MAX_CHARS = 64
KEYS_KEPT = 4096
"""Callers whose share is known by its name; of others it is worked out again."""
NAMES_SHOWN = 12
WHY_MAX_CHARS = 200
VALUE_MAX_CHARS = 80
DISCOVERY_RETRY_S = 2.0
"""A backend that has not listed its models yet is asked again within this time."""


def decide(
    policy: PolicySet,
    catalog: Catalog,
    facts: RequestFacts,
    snapshot: Snapshot,
    *,
    holding: Holding = CALM,
    draws: Draws = NO_DRAWS,
    usual: Usual | None = None,
    explain: bool = False,
) -> Decision:
    """Pick the intent, run the rules, add the rungs that are held, choose the models.

    `rules` of the result has those that matched or failed, in order, rungs after rules; with
    `explain` it has all of them, and `intents` is filled. `usual` remembers what was decided with the same
    policies and catalogue about requests that nothing happened to. A refused request (`shaping.reject`) has no models.
    Raises ModelNotFound, BelowQualityFloor, or NoReadyBackend while no backend has listed a model.
    """
    known = None if usual is None or explain else usual.recall(facts)
    calm, index = holding is CALM, policy.index
    if known is not None and calm and not known.tried and not index.by_its_own(facts, known.shape):
        return known.decision
    picked = intents.pick(policy, catalog, facts)
    begun = begin(policy.intent(picked.intent), facts, catalog) if known is None else known.shape
    run = _Run(policy, catalog, facts, snapshot, begun, explain=explain)
    run.follow()
    if not calm and run.shape.reject is None:
        run.hold(holding, draws)
    undisturbed = run.shape is begun and not run.outcomes
    if known is not None and undisturbed:
        return known.decision
    decision = run.decision(picked)
    if usual is not None and undisturbed and not explain:
        usual.remember(facts, begun, decision)
    return decision


class _Run:
    """One request's way through the rules."""

    def __init__(
        self,
        policy: PolicySet,
        catalog: Catalog,
        facts: RequestFacts,
        snapshot: Snapshot,
        shape: Shape,
        *,
        explain: bool,
    ) -> None:
        self._policy = policy
        self._catalog = catalog
        self._facts = facts
        self._explain = explain
        self._snapshot = snapshot
        self._context_made: EvaluationContext | None = None
        self.shape = shape
        self.outcomes: list[RuleOutcome] = []
        self.intent_set_by = ""
        self.treated: list[int] = []
        self.held_out: list[int] = []
        self.shed_for: str | None = None

    def decision(self, picked: intents.Picked) -> Decision:
        """What has become of it."""
        shape, facts = self.shape, self._facts
        if shape.reject is None and not shape.models:
            raise _unservable(shape, self._catalog)
        constraints, notes = _constraints(shape, facts)
        told: tuple[IntentOutcome, ...] = ()
        if self._explain:
            name, changed_by = shape.intent.name, self.intent_set_by
            told = intents.outcomes(self._policy, facts, picked, name, changed_by)
            told = tuple(_with_notes(outcome, notes) for outcome in told)
        choice = shape.choices[-1]
        return Decision(
            intent=shape.intent.name,
            shaping=Shaping(
                model=shape.model,
                max_tokens=shape.max_tokens if shape.max_tokens != facts.max_tokens else None,
                priority=shape.priority,
                pool=choice.pool,
                params=shape.params,
                reject=shape.reject,
            ),
            models=() if shape.reject is not None else shape.models,
            route=choice.model,
            constraints=constraints,
            rules=tuple(self.outcomes),
            treated=tuple(self.treated),
            held_out=tuple(self.held_out),
            shed_for=self.shed_for,
            hedge_after_s=shape.hedge_after_s,
            intents=told,
            policy_version=self._policy.version,
        )

    def hold(self, holding: Holding, draws: Draws) -> None:
        """What the control loop holds: first whom it turns away, then what it does to the rest."""
        for decline in holding.declines:
            if decline.concerns(self.shape.priority, pool_of(self.shape, self._catalog)) and (
                draws.shed < decline.share
            ):
                self._turn_away(decline)
                if self.shape.reject is not None:
                    return
        for held in holding.rungs.get(self.shape.intent.name, ()):
            effect = hold(held, self.shape, self._facts, self._catalog)
            name = f"rung {held.rung.action}"
            protected = self.shape.priority > PROTECTED_ABOVE
            if effect.verdict == "applied" and not effect.changes:
                continue
            if held.rung.dry_run:
                self._note(name, "dry_run", effect.why, effect.changes)
            elif effect.changes and held.unverified and not protected and draws.spare < HOLDOUT:
                self.held_out.append(held.action)
                self._note(name, "spared", "to compare with", effect.changes)
            else:
                if effect.changes:
                    self.treated.append(held.action)
                self._note(name, effect.verdict, effect.why, effect.changes)
                self.shape = effect.shape

    def _turn_away(self, decline: Decline) -> None:
        name = f"rung {decline.rung.action}"
        why = f"for the sake of intent {decline.intent}"
        if decline.rung.dry_run:
            self._note(name, "dry_run", why, ("refused with 503",))
            return
        self.treated.append(decline.action)
        self._note(name, "applied", why, ("refused with 503",))
        self.shed_for = decline.intent
        self.shape = structs.replace(
            self.shape,
            reject=Rejection(
                message=f"The pool is busy with work of a higher priority than "
                f"{self.shape.priority}; come back later.",
                retry_after_s=decline.retry_after_s,
                status=503,
            ),
        )

    def follow(self) -> None:
        """All rules, in order; only those that it may match, unless each is to be explained."""
        rules, at, before = self._policy.rules, 0, None
        while self.shape is not before:  # what a rule changes, later ones go by
            before = self.shape
            numbers: Numbers = range(len(rules))
            if not self._explain:
                numbers = self._policy.index.candidates(self._facts, before)
            for number in numbers:
                if number >= at:
                    self.step(rules[number])
                    at = number + 1
                    if self.shape is not before:
                        break

    @property
    def _context(self) -> EvaluationContext:
        if self._context_made is None:
            self._context_made = EvaluationContext(
                self._policy.references, self._facts, self.shape, self._snapshot, self._catalog
            )
        return self._context_made

    def step(self, rule: CompiledRule) -> None:
        """Try one rule."""
        if self.shape.reject is not None:
            if self._explain:
                self._say(rule, "not_evaluated", "an earlier rule refused the request")
            return
        if rule.condition is not None:
            try:
                holds = self._holds(rule.condition)
            except Exception as exc:  # CEL raises whatever the values led to: the rule's own fault
                self._say(rule, "error", _told(exc))
                return
            if not holds:
                if self._explain:
                    self._say(rule, "no_match", self._because(rule))
                return
        self._take(rule, apply(rule, self.shape, self._facts, self._policy, self._catalog))

    def _holds(self, condition: Condition) -> bool:
        first = condition.first
        if first is not None:
            value = self._context.value(first.reference, self.shape)
            if value is None or first.fails(value):
                return False
        known = self._context.knows(condition.references)
        return known and condition.holds(self._context.cel)

    def _take(self, rule: CompiledRule, effect: Effect) -> None:
        why = "; ".join(filter(None, (self._because(rule), effect.why)))
        if rule.dry_run:
            self._say(rule, "dry_run", why, effect.changes)
            return
        self._say(rule, effect.verdict, why, effect.changes)
        if effect.shape.intent is not self.shape.intent:
            self.intent_set_by = rule.name
        self.shape = effect.shape
        if effect.changes:
            self._context.refresh(effect.shape)

    def _say(
        self, rule: CompiledRule, verdict: RuleVerdict, why: str, changes: tuple[str, ...] = ()
    ) -> None:
        self._note(rule.name, verdict, why, changes)

    def _note(self, name: str, verdict: RuleVerdict, why: str, changes: tuple[str, ...]) -> None:
        self.outcomes.append(RuleOutcome(rule=name, verdict=verdict, why=why, changes=changes))

    def _because(self, rule: CompiledRule) -> str:
        """The condition; in an explanation, the values that it met."""
        if rule.condition is None:
            return "it has no condition"
        if not self._explain:
            return rule.condition.source
        values = (
            f"{reference.label} is {_shown(self._context.value(reference, self.shape))}"
            for reference in rule.condition.references
        )
        return ", ".join(values) or "its condition is constant"


def _unservable(shape: Shape, catalog: Catalog) -> GatewayError:
    """Why the model in force cannot be served, with what could be asked for instead."""
    card = catalog.models.get(shape.model)
    if card is not None:
        fit = _listed(worthy(shape.intent, catalog)) or "none"
        return BelowQualityFloor(
            f"Refused: {why_below(card, shape.intent)}. Models that meet it: {fit}.", param="model"
        )
    if not catalog.models and catalog.discovering:
        return NoReadyBackend(
            "No backend has listed its models yet.", retry_after_s=DISCOVERY_RETRY_S
        )
    names = sorted(catalog.models)
    near = did_you_mean(shape.model, names)
    hint = f" {near[0].upper()}{near[1:]}" if near.startswith("did") else ""
    return ModelNotFound(
        f"The model {_shown(shape.model)} does not exist.{hint} "
        f"Models that do: {_listed(names) or 'none'}.",
        param="model",
    )


def _constraints(shape: Shape, facts: RequestFacts) -> tuple[Constraints, tuple[str, ...]]:
    """What the infrastructure below is asked for, and what the client's headers did to it."""
    intent, promised = shape.intent, shape.intent.objectives
    # Nobody waits for a task's first token: it has an objective only where it has brought one.
    ttft_s, tpot_s = None if facts.task else promised.ttft_s, promised.tpot_s
    ttft = intents.tighten(ttft_s, facts.headers, intents.TTFT_HEADERS)
    tpot = intents.tighten(tpot_s, facts.headers, intents.TPOT_HEADERS)
    constraints = Constraints(
        objective=intent.llmd_objective or intent.name or None,
        priority=shape.priority,
        ttft_s=ttft.seconds,
        tpot_s=tpot.seconds,
        fairness_id=_key_share(facts.key) if facts.key else _user_share(facts.user),
    )
    notes = ttft.notes + tpot.notes
    if facts.task and promised.ttft_s is not None and ttft.seconds is None:
        notes = ("a task has no first-token objective of its own", *notes)
    return constraints, notes


@lru_cache(maxsize=KEYS_KEPT)
def _key_share(key: str) -> str:
    """Whose share a caller's requests count against: fit for a header."""
    if len(key) <= FAIRNESS_ID_MAX_CHARS and key.isascii() and key.isprintable():
        return key
    return f"key-{_digest(key)}"


def _user_share(user: str) -> str | None:
    """The same of a request without a caller's name, and without its user's own."""
    return f"user-{_digest(user)}" if user else None


def _digest(who: str) -> str:
    return hashlib.blake2b(who.encode(errors="backslashreplace"), digest_size=8).hexdigest()


def _with_notes(outcome: IntentOutcome, notes: tuple[str, ...]) -> IntentOutcome:
    if not outcome.chosen or not notes:
        return outcome
    return structs.replace(outcome, why="; ".join((outcome.why, *notes)))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _told(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:WHY_MAX_CHARS]


def _shown(value: Any) -> str:
    text = "not known" if value is None else ascii(value)
    return text if len(text) <= VALUE_MAX_CHARS else text[: VALUE_MAX_CHARS - 3] + "..."
