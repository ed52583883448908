"""What one rule or one held rung does to a request; what they do together is in `test_decide`."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.decision import Rejection
from contracts.inference import RequestFacts
from contracts.policy import Intent, Reject, Rung, Then
from contracts.problems import Position
from contracts.quantities import Duration, Share
from policies.effects import REJECT_MESSAGE, Effect, Shape, apply, begin, hold
from policies.held import HeldRung
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


@pytest.mark.req("ADM-5")
@given(
    asked=st.none() | st.integers(-1000, 1000),
    may_raise=st.booleans(),
    intent=st.sampled_from(sorted(INTENTS)),
)
def test_who_may_not_raise_a_priority_only_stands_back(
    catalog: Catalog, asked: int | None, may_raise: bool, intent: str
) -> None:
    request = facts(asked_priority=asked, may_raise=may_raise)
    promised = INTENTS[intent].priority
    begun = begin(INTENTS[intent], request, catalog).priority
    if asked is None:
        assert begun == promised
    elif may_raise:
        assert begun == asked
    else:
        assert begun == min(asked, promised)
    moved = effect(catalog, ruled(intent=intent), asked_priority=asked, may_raise=may_raise)
    assert moved.shape.priority == begun, "also under an intent that a rule sets"


def test_a_rules_own_priority_has_the_last_word(catalog: Catalog) -> None:
    done = effect(catalog, ruled(priority=50), asked_priority=-5)
    assert (done.shape.priority, done.changes) == (50, ("priority -5 -> 50",))


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


# -- rungs that the loop holds ----------------------------------------------------------------

RUNG_TEXTS: list[Any] = [
    "order",
    "hold_back",
    "reroute",
    "hedge",
    "shed",
    "refuse",
    *({"switch_model": name} for name in ("big", "small", "tiny", "near", "unrated", "later")),
    {"cap_tokens": 3},
    {"reduce_batching": 0.5},
]


def held(rung: Any, **more: Any) -> HeldRung:
    return HeldRung(action=7, rung=Rung.parse(rung), **more)


def holding(
    catalog: Catalog,
    rung: Any,
    *,
    intent: Intent = INTERACTIVE,
    shape: Shape | None = None,
    **more: Any,
) -> Effect:
    fields = {name: more.pop(name) for name in ("model", "max_tokens", "operation") if name in more}
    request = facts(**fields)
    return hold(held(rung, **more), shape or begin(intent, request, catalog), request, catalog)


@pytest.mark.req("INT-5")
def test_a_held_switch_brings_in_its_model_with_its_own_route(catalog: Catalog) -> None:
    done = holding(catalog, {"switch_model": "small"})
    assert (done.verdict, done.changes) == ("applied", ("model big -> small",))
    assert done.shape.models == ("small",)
    assert done.shape.choices == (Choice("big"), Choice("small"))


@pytest.mark.req("INT-5")
@pytest.mark.parametrize("asked", ["small", "near"])
def test_who_has_asked_for_something_as_small_keeps_it(catalog: Catalog, asked: str) -> None:
    """Never to a model that is rated above the one in force: that would be no relief."""
    other = {"small": "near", "near": "big"}[asked]
    done = holding(catalog, {"switch_model": other}, model=asked)
    assert (done.verdict, done.changes) == ("applied", ())
    assert done.shape.model == asked


@pytest.mark.req("INT-11")
def test_a_held_switch_is_held_by_the_floor(catalog: Catalog) -> None:
    done = holding(catalog, {"switch_model": "tiny"})
    assert (done.verdict, done.changes) == ("held_by_floor", ())
    assert done.why == "tiny has quality 0.3; the floor of intent interactive is 0.6"
    assert done.shape.model == "big"
    unrated = holding(catalog, {"switch_model": "unrated"})
    assert unrated.shape.model == "big"


@pytest.mark.parametrize("rung", [{"switch_model": "small"}, "reroute"])
def test_embeddings_stay_with_their_model(catalog: Catalog, rung: Any) -> None:
    """Vectors of another model cannot be compared with those that a client has."""
    done = holding(catalog, rung, operation="embedding")
    assert (done.changes, done.shape.model) == ((), "big")


def test_who_is_confined_to_a_pool_is_not_switched_out_of_it(catalog: Catalog) -> None:
    confined = effect(catalog, ruled(pool="cluster")).shape
    assert holding(catalog, {"switch_model": "near"}, shape=confined).shape == confined
    assert holding(catalog, {"switch_model": "small"}, shape=confined).shape.model == "small"


def test_a_model_that_no_backend_lists_is_not_switched_to(catalog: Catalog) -> None:
    done = holding(catalog, {"switch_model": "later"})
    assert (done.changes, done.shape.model) == ((), "big")


@pytest.mark.req("INT-5")
@pytest.mark.parametrize(
    ("asked", "given", "changes"),
    [
        (None, 3, ("max_tokens unset -> 3",)),
        (9, 3, ("max_tokens 9 -> 3",)),
        (2, 2, ()),
    ],
)
def test_a_held_cap_lowers_and_never_raises(
    catalog: Catalog, asked: int | None, given: int, changes: tuple[str, ...]
) -> None:
    done = holding(catalog, {"cap_tokens": 3}, max_tokens=asked)
    assert (done.shape.max_tokens, done.changes) == (given, changes)
    embedding = holding(catalog, {"cap_tokens": 3}, operation="embedding")
    assert embedding.shape.max_tokens is None


@pytest.mark.req("INT-5", "INT-11")
def test_rerouted_the_first_good_model_elsewhere_leads_and_the_others_stay(
    catalog: Catalog,
) -> None:
    done = holding(catalog, "reroute")
    assert done.shape.models == ("near", "big", "small")
    assert done.changes == ("model big -> near",)
    nowhere = holding(catalog, "reroute", model="small")
    assert (nowhere.changes, nowhere.shape.models) == ((), ("small",))
    unservable = holding(catalog, "reroute", model="tiny")
    assert unservable.shape.models == ()


def test_who_is_confined_to_a_pool_is_not_rerouted_out_of_it(catalog: Catalog) -> None:
    confined = effect(catalog, ruled(pool="cluster")).shape
    assert holding(catalog, "reroute", shape=confined).shape == confined


@pytest.mark.req("INT-5")
def test_a_hedge_tells_after_how_long(catalog: Catalog) -> None:
    done = holding(catalog, "hedge", hedge_after_s=0.7)
    assert done.shape.hedge_after_s == 0.7
    assert done.changes == ("hedge_after_s unset -> 0.7",)


@pytest.mark.parametrize("rung", ["order", "hold_back", "shed", "refuse", {"reduce_batching": 0.5}])
def test_a_rung_that_changes_a_pool_leaves_the_request_alone(catalog: Catalog, rung: Any) -> None:
    done = holding(catalog, rung)
    assert done == Effect(shape=begin(INTERACTIVE, facts(), catalog), verdict="applied")


@pytest.mark.req("INT-5", "INT-11")
@given(
    rungs=st.lists(st.sampled_from(RUNG_TEXTS), max_size=6),
    rules=st.lists(RULES, max_size=3),
    model=MODELS,
    asked=st.one_of(st.none(), st.integers(1, 5)),
)
def test_what_holds_after_any_rungs(
    rungs: list[Any], rules: list[CompiledRule], model: str, asked: int | None, catalog: Catalog
) -> None:
    request = facts(model=model, max_tokens=asked)
    shape = begin(INTERACTIVE, request, catalog)
    for rule in rules:
        shape = apply(rule, shape, request, POLICY, catalog).shape
    floor = shape.intent.quality_floor or 0.0
    for rung in rungs:
        before = shape
        done = hold(held(rung), before, request, catalog)
        shape = done.shape
        assert bool(done.changes) == (shape != before)
        assert (shape.intent, shape.priority) == (before.intent, before.priority)
        assert (shape.max_tokens or 9) <= (before.max_tokens or 9)
        for name in shape.models:
            quality = catalog.models[name].quality
            assert floor == 0 or (name == model if quality is None else quality >= floor)
