"""What one rule does to a request; what rules do together is in `test_decide`."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.decision import Rejection
from contracts.inference import RequestFacts
from contracts.policy import Intent, Reject, Then
from contracts.problems import Position
from contracts.quantities import Duration, Share
from policies.effects import REJECT_MESSAGE, Effect, Shape, apply, begin
from policies.policy_set import CompiledRule, PolicySet
from policies.quality import Choice

INTENTS = {
    intent.name: intent
    for intent in (
        Intent(name="interactive", priority=10, quality_floor=Share(0.6)),
        Intent(name="premium", priority=20, quality_floor=Share(0.85)),
        Intent(name="batch", priority=-10),
    )
}
POLICY = PolicySet(intents=INTENTS)
INTERACTIVE = INTENTS["interactive"]


def facts(**fields: Any) -> RequestFacts:
    return RequestFacts(**{"operation": "chat", "model": "big", **fields})


def ruled(params: dict[str, bytes] | None = None, **then: Any) -> CompiledRule:
    raw = {name: msgspec.Raw(value) for name, value in (params or {}).items()}
    return CompiledRule(name="r", then=Then(**then), where=Position("a.yaml"), params=raw)


def effect(
    catalog: Catalog,
    rule: CompiledRule,
    *,
    intent: Intent = INTERACTIVE,
    shape: Shape | None = None,
    **fields: Any,
) -> Effect:
    request = facts(**fields)
    return apply(rule, shape or begin(intent, request, catalog), request, POLICY, catalog)


def test_a_request_begins_as_the_client_sent_it(catalog: Catalog) -> None:
    shape = begin(INTERACTIVE, facts(max_tokens=9), catalog)
    assert (shape.model, shape.pinned, shape.priority, shape.max_tokens) == ("big", None, 10, 9)
    assert shape.models == ("big", "small", "near")
    unservable = begin(INTERACTIVE, facts(model="tiny"), catalog)
    assert (unservable.models, unservable.model) == ((), "tiny")


def test_a_rule_that_changes_nothing_has_no_changes(catalog: Catalog) -> None:
    rule = ruled(model="big", priority=10, max_tokens=50, intent="interactive")
    done = effect(catalog, rule, max_tokens=50)
    assert (done.verdict, done.changes, done.why) == ("applied", (), "")
    assert done.shape == begin(INTERACTIVE, facts(max_tokens=50), catalog)


def test_actions_take_effect_in_a_fixed_order(catalog: Catalog) -> None:
    rule = ruled(
        {"top_k": b"4"},
        reject=Reject(),
        priority=3,
        max_tokens=5,
        pool="local",
        model="tiny",
        intent="batch",
    )
    done = effect(catalog, rule)
    assert done.changes == (
        "intent interactive -> batch",
        "priority 10 -> -10",
        "model big -> tiny",  # which only the new intent allows
        "pool any -> local",
        "max_tokens unset -> 5",
        "priority -10 -> 3",
        "top_k = 4",
        "refused with 429",
    )


def test_a_refusal_has_a_message_of_its_own_or_the_rules(catalog: Catalog) -> None:
    plain = effect(catalog, ruled(reject=Reject()))
    assert plain.shape.reject == Rejection(message=REJECT_MESSAGE)
    told = Reject(message="later", retry_after=Duration(2), status=503)
    reject = effect(catalog, ruled(reject=told)).shape.reject
    assert reject == Rejection(message="later", retry_after_s=2.0, status=503)
    assert type(reject.retry_after_s) is float  # a record of it is JSON


def test_params_are_set_over_earlier_ones_and_shown_short(catalog: Catalog) -> None:
    first = effect(catalog, ruled({"a": b"1", "b": b'"x"'}))
    long = b'"' + b"y" * 100 + b'"'
    second = effect(catalog, ruled({"b": long}), shape=first.shape)
    assert second.shape.params == {"a": msgspec.Raw(b"1"), "b": msgspec.Raw(long)}
    assert first.shape.params["b"] == msgspec.Raw(b'"x"')  # the earlier shape is a value
    assert second.changes[0].startswith('b = "yyy')
    assert len(second.changes[0]) < 70


@pytest.mark.req("INT-11")
def test_a_model_below_the_floor_is_held_and_the_rest_stands(catalog: Catalog) -> None:
    done = effect(catalog, ruled(model="tiny", priority=1))
    assert done.verdict == "held_by_floor"
    assert done.why == "tiny has quality 0.3; the floor of intent interactive is 0.6"
    assert (done.shape.model, done.shape.priority) == ("big", 1)


def test_a_model_or_pool_that_is_not_there_is_an_error_and_the_rest_stands(
    catalog: Catalog,
) -> None:
    gone = effect(catalog, ruled(model="later", priority=1))
    assert (gone.verdict, gone.why) == ("error", "no backend lists model later at present")
    assert gone.shape.priority == 1
    nowhere = effect(catalog, ruled(pool="elsewhere"))
    assert nowhere.why == "no model on the route of big is in pool elsewhere"
    both = effect(catalog, ruled(model="later", pool="local"), intent=INTENTS["premium"])
    assert both.verdict == "held_by_floor"  # the floor is the reason that matters more
    assert both.why.endswith("; no backend lists model later at present")


def test_the_model_that_leads_already_keeps_its_pool(catalog: Catalog) -> None:
    confined = effect(catalog, ruled(pool="local")).shape
    assert (confined.model, confined.pinned) == ("near", "local")
    again = effect(catalog, ruled(model="near", pool="local"), shape=confined)
    assert (again.shape, again.changes) == (confined, ())
    freed = effect(catalog, ruled(model="small"), shape=confined).shape
    assert (freed.model, freed.pinned) == ("small", None)


@pytest.mark.req("INT-11")
def test_a_floor_that_rises_goes_back_to_the_newest_choice_that_holds(catalog: Catalog) -> None:
    chosen = effect(catalog, ruled(model="small")).shape
    assert chosen.choices == (Choice("big"), Choice("small"))
    risen = effect(catalog, ruled(intent="premium"), shape=chosen)
    assert risen.shape.choices == (Choice("big"),)
    assert risen.shape.models == ("big",)
    assert risen.changes[-1] == "model small -> big (the floor is now 0.85)"
    fallen = effect(catalog, ruled(intent="batch"), shape=chosen)
    assert fallen.shape.choices == chosen.choices


MODELS = st.sampled_from(["big", "small", "tiny", "near", "unrated", "later"])
RULES = st.builds(
    lambda then: ruled(**then),
    st.fixed_dictionaries(
        {},
        optional={
            "intent": st.sampled_from(sorted(INTENTS)),
            "model": MODELS,
            "pool": st.sampled_from(["cluster", "local", "elsewhere"]),
            "max_tokens": st.integers(1, 5),
            "priority": st.integers(-1, 1),
        },
    ),
)


@pytest.mark.req("INT-2", "INT-11")
@given(
    rules=st.lists(RULES, max_size=6),
    model=MODELS,
    asked=st.one_of(st.none(), st.integers(1, 5)),
    operation=st.sampled_from(["chat", "embedding"]),
)
def test_what_holds_after_any_rules(
    rules: list[CompiledRule], model: str, asked: int | None, operation: Any, catalog: Catalog
) -> None:
    request = facts(model=model, max_tokens=asked, operation=operation)
    shape = begin(INTERACTIVE, request, catalog)
    for rule in rules:
        done = apply(rule, shape, request, POLICY, catalog)
        before, shape = shape, done.shape
        if before.max_tokens is not None:
            assert shape.max_tokens is not None
            assert shape.max_tokens <= before.max_tokens
        if done.verdict == "applied":
            assert done.why == ""
            assert bool(done.changes) == (shape != before)
        else:
            assert done.why
        assert shape.choices[0] == Choice(model)  # the client's own wish is never forgotten
        floor = shape.intent.quality_floor or 0.0
        for name in shape.models:
            quality = catalog.models[name].quality
            assert shape.pinned in (None, catalog.models[name].pool)
            assert floor == 0 or (name == model if quality is None else quality >= floor)
    if operation == "embedding":
        assert shape.max_tokens == asked
