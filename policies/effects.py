"""What a matching rule does to a request: values in, values out.

Must stay true: a cap never rises; the quality floor of the intent in force bounds every model
that a rule brings in, also when a later rule raises it. Within one rule the actions take effect
in the order intent, model, pool, max_tokens, priority, params, reject.
"""

from typing import Any

import msgspec

from contracts.catalog import Catalog
from contracts.decision import Rejection, RuleVerdict
from contracts.inference import RequestFacts
from contracts.policy import Intent
from policies.held import HeldRung
from policies.policy_set import CompiledRule, PolicySet
from policies.quality import Choice, below_floor, route, why_below

REJECT_MESSAGE = "The gateway's policy refuses this request."


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The request as the rules so far have left it.

    `choices` is the client's model, then what rules chose instead; the last one that holds
    counts. `models` is its route, empty when even the client's own cannot be served.
    """

    intent: Intent
    priority: int
    choices: tuple[Choice, ...]
    models: tuple[str, ...]
    max_tokens: int | None
    params: dict[str, msgspec.Raw] = {}
    reject: Rejection | None = None
    hedge_after_s: float | None = None

    @property
    def model(self) -> str:
        """The model that would be tried first."""
        return self.models[0] if self.models else self.choices[-1].model

    @property
    def pinned(self) -> str | None:
        return self.choices[-1].pool


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule did, or in a dry run would have done."""

    shape: Shape
    verdict: RuleVerdict
    changes: tuple[str, ...] = ()
    why: str = ""


def begin(intent: Intent, facts: RequestFacts, catalog: Catalog) -> Shape:
    """The request before any rule."""
    choice = Choice(facts.model)
    return Shape(
        intent=intent,
        priority=_starting_priority(intent, facts),
        choices=(choice,),
        models=route(choice, facts.model, intent, catalog),
        max_tokens=facts.max_tokens,
    )


def _starting_priority(intent: Intent, facts: RequestFacts) -> int:
    """The intent's, or what the request asks for: lower always, higher only where it may."""
    asked = facts.asked_priority
    if asked is None:
        return intent.priority
    return asked if facts.may_raise else min(intent.priority, asked)


def apply(
    rule: CompiledRule, shape: Shape, facts: RequestFacts, policy: PolicySet, catalog: Catalog
) -> Effect:
    """Carry out `rule.then`. An action that cannot be taken leaves the others in force."""
    then = rule.then
    work = _Work(shape, facts, catalog)
    if then.intent is not None:
        work.set_intent(policy.intent(then.intent))
    if then.model is not None:
        work.set_model(then.model)
    if then.pool is not None:
        work.set_pool(then.pool)
    if then.max_tokens is not None:
        work.cap_tokens(then.max_tokens)
    if then.priority is not None:
        work.change("priority", then.priority, work.shape.priority)
    for name, value in rule.params.items():
        work.set_param(name, value)
    if then.reject is not None:
        work.changes.append(f"refused with {then.reject.status}")
        after = then.reject.retry_after
        work.update(
            reject=Rejection(
                message=then.reject.message or REJECT_MESSAGE,
                retry_after_s=None if after is None else float(after),
                status=then.reject.status,
            )
        )
    verdict: RuleVerdict = "applied"
    if work.held:
        verdict = "held_by_floor"
    elif work.failed:
        verdict = "error"
    return Effect(
        shape=work.shape,
        verdict=verdict,
        changes=tuple(work.changes),
        why="; ".join(work.held + work.failed),
    )


def hold(held: HeldRung, shape: Shape, facts: RequestFacts, catalog: Catalog) -> Effect:
    """Carry out a rung that the loop holds for the request's intent."""
    work = _Work(shape, facts, catalog)
    argument = held.rung.argument
    # Another model's vectors cannot be compared with those that a client has: embeddings stay.
    may_move = facts.operation != "embedding"
    match held.rung.action:
        case "switch_model" if isinstance(argument, str) and may_move:
            work.switch_model(argument)
        case "cap_tokens" if isinstance(argument, int):
            work.cap_tokens(argument)
        case "reroute" if may_move:
            work.reroute()
        case "hedge":
            work.change("hedge_after_s", held.hedge_after_s, shape.hedge_after_s)
        case _:
            pass  # it changes a pool, not this request
    return Effect(
        shape=work.shape,
        verdict="held_by_floor" if work.held else "applied",
        changes=tuple(work.changes),
        why="; ".join(work.held + work.failed),
    )


class _Work:
    """One rule's actions on one request, noting each as it is taken or not."""

    def __init__(self, shape: Shape, facts: RequestFacts, catalog: Catalog) -> None:
        self.shape = shape
        self.changes: list[str] = []
        self.held: list[str] = []
        self.failed: list[str] = []
        self._facts = facts
        self._asked = facts.model
        self._generates = facts.operation != "embedding"
        self._catalog = catalog

    def update(self, **fields: Any) -> None:
        self.shape = msgspec.structs.replace(self.shape, **fields)

    def change(self, field: str, new: Any, old: Any) -> None:
        """Set a field of the shape, and say so where it is a change."""
        if new != old:
            self.changes.append(f"{field} {'unset' if old is None else old} -> {new}")
            self.update(**{field: new})

    def set_intent(self, intent: Intent) -> None:
        """A new promise and its priority. Choices that its floor forbids are undone, newest first."""
        before = self.shape
        if intent.name == before.intent.name:
            return
        self.changes.append(f"intent {before.intent.name or '-'} -> {intent.name}")
        self.update(intent=intent)
        self.change("priority", _starting_priority(intent, self._facts), before.priority)
        choices = before.choices
        while True:
            models = route(choices[-1], self._asked, intent, self._catalog)
            if models or len(choices) == 1:
                break
            choices = choices[:-1]
        self.update(choices=choices, models=models)
        if self.shape.model != before.model:
            floor = f"the floor is now {intent.quality_floor or 0:g}"
            self._tell_model(before.model, f" ({floor})")

    def set_model(self, name: str) -> None:
        """A new model, and no pool: a rule that names a model means it wherever it lives."""
        card = self._catalog.models.get(name)
        if card is None:
            self.failed.append(f"no backend lists model {name} at present")
        elif name == self.shape.model and self.shape.pinned in (None, card.pool):
            return
        elif below_floor(card, self.shape.intent) and not (
            name == self._asked and card.quality is None
        ):
            self.held.append(why_below(card, self.shape.intent))
        else:
            self._choose(Choice(name))

    def switch_model(self, name: str) -> None:
        """As `set_model`, but never to a model that is rated above the one in force: a client that
        asked for something smaller has it already."""
        now, new = (self._catalog.models.get(n) for n in (self.shape.model, name))
        rating = None if now is None else now.quality
        if new is None or self.shape.pinned not in (None, new.pool):
            return  # a rule has confined it to another pool
        if rating is not None and (new.quality is None or new.quality > rating):
            return
        self.set_model(name)

    def reroute(self) -> None:
        """The first model of the route that lives in another pool leads; the rest stay behind it."""
        models = self.shape.models
        cards = [self._catalog.models.get(name) for name in models]
        here = cards[0].pool if cards and cards[0] else ""
        other = next((c.name for c in cards if c is not None and c.pool != here), None)
        if other is not None:
            before = self.shape.model
            self.update(models=(other, *(name for name in models if name != other)))
            self._tell_model(before)

    def set_pool(self, pool: str) -> None:
        """Confine the route to a pool. Not taken where no model of the route may be served there."""
        if pool == self.shape.pinned:
            return
        choice = Choice(self.shape.choices[-1].model, pool)
        if route(choice, self._asked, self.shape.intent, self._catalog):
            self.changes.append(f"pool {self.shape.pinned or 'any'} -> {pool}")
            self._choose(choice)
            return
        names = (choice.model, *self._catalog.routes.get(choice.model, ()))
        cards = [card for name in names if (card := self._catalog.models.get(name))]
        below = [card for card in cards if card.pool == pool]
        if below:
            self.held.append(why_below(below[0], self.shape.intent))
        else:
            self.failed.append(f"no model on the route of {_plain(choice.model)} is in pool {pool}")

    def _choose(self, choice: Choice) -> None:
        before = self.shape.model
        choices = (*self.shape.choices, choice)
        models = route(choice, self._asked, self.shape.intent, self._catalog)
        self.update(choices=choices, models=models)
        if self.shape.model != before:
            self._tell_model(before)

    def _tell_model(self, before: str, why: str = "") -> None:
        """The client's own name may hold anything, so it is told escaped and cut."""
        self.changes.append(f"model {_plain(before)} -> {self.shape.model}{why}")

    def cap_tokens(self, cap: int) -> None:
        """The lowest of the client's wish and every cap. An embedding generates nothing."""
        asked = self.shape.max_tokens
        if self._generates and (asked is None or cap < asked):
            self.change("max_tokens", cap, asked)

    def set_param(self, name: str, value: msgspec.Raw) -> None:
        self.changes.append(f"{name} = {_shown(value)}")
        self.update(params={**self.shape.params, name: value})


def _shown(value: msgspec.Raw) -> str:
    return _cut(bytes(value).decode())


def _plain(name: str) -> str:
    return _cut(ascii(name)[1:-1])


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
