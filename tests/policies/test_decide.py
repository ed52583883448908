"""`decide`: what rules do to a request, and what no rule can ever do."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from contracts.catalog import Catalog, ModelCard
from contracts.decision import Decision
from contracts.errors import BelowQualityFloor, ModelNotFound, NoReadyBackend
from contracts.inference import RequestFacts
from contracts.policy import PolicyFile, Rung
from contracts.problems import ProblemsFound
from contracts.snapshot import PoolSignals, Snapshot
from contracts.yaml_document import read
from policies.compiler import compile_policies
from policies.context import EvaluationContext
from policies.decide import FAIRNESS_ID_MAX_CHARS, decide
from policies.held import CALM, HOLDOUT, NO_DRAWS, Decline, Draws, HeldRung, Holding
from policies.policy_set import PolicySet
from policies.usual import Usual

INTENTS = """
intents:
  - {name: interactive, match: {default: true}, priority: 10, quality_floor: 0.6}
  - {name: premium, match: {header: {x-intent: premium}}, priority: 20, quality_floor: 0.85}
  - {name: batch, match: {header: {x-intent: batch}}, priority: -10, llmd_objective: sheddable}
"""
BUSY = Snapshot(
    pools={
        "cluster": PoolSignals(inflight=3, queued=9, limit=4, endpoints=2, ready_endpoints=1),
        "local": PoolSignals(limit=1, endpoints=1, ready_endpoints=1),
    }
)


def request(**fields: Any) -> RequestFacts:
    return RequestFacts(**{"operation": "chat", "model": "big", **fields})


@pytest.fixture(scope="session")
def answer(compiled: Any, catalog: Catalog) -> Any:
    """`answer(rules, **request fields)`: the decision under INTENTS and these rules."""

    def decided(
        rules: str, *, against: Catalog = catalog, explain: bool = True, **fields: Any
    ) -> Any:
        policy = compiled(INTENTS, f"rules:\n{rules}" if rules else "", against=against)
        return decide(policy, against, request(**fields), BUSY, explain=explain)

    return decided


def verdicts(decision: Decision) -> list[str]:
    return [outcome.verdict for outcome in decision.rules]


@pytest.mark.req("INT-2", "INT-4")
def test_a_rule_that_asks_for_what_is_not_known_does_not_apply(
    compiled: Any, catalog: Catalog
) -> None:
    rules = """
rules:
  - {name: more, when: pool.backend_waiting > 4, then: {max_tokens: 9}}
  - {name: less, when: "!(pool.backend_waiting > 4)", then: {max_tokens: 8}}
  - {name: either, when: request.key == "" || pool.kv_cache_usage > 0.9, then: {max_tokens: 7}}
  - {name: far, when: 'pools["local"].backend_running >= 0', then: {max_tokens: 6}}
"""
    policy = compiled(INTENTS, rules, against=catalog)
    silent = decide(policy, catalog, request(), BUSY, explain=True)
    assert verdicts(silent) == ["no_match"] * 4
    assert silent.rules[0].why == "pool.backend_waiting is not known"
    told = PoolSignals(backend_waiting=5, kv_cache_usage=0.0)
    heard = decide(policy, catalog, request(), Snapshot(pools={"cluster": told}), explain=True)
    assert verdicts(heard) == ["applied", "no_match", "applied", "no_match"]
    assert heard.shaping.max_tokens == 7


# -- rules ------------------------------------------------------------------------------


@pytest.mark.req("INT-2", "ADM-5")
def test_rules_see_whether_it_is_a_task_and_the_priority_that_it_may_have(answer: Any) -> None:
    rules = """
  - {name: tasks, when: request.task && request.priority == 4, then: {params: {seed: 1}}}
  - {name: chats, when: "!request.task", then: {max_tokens: 9}}
  - {name: nights, when: pool.queued_tasks > pool.queued, then: {max_tokens: 7}}
"""
    lower = answer(rules, task=True, asked_priority=4)
    assert verdicts(lower) == ["applied", "no_match", "no_match"]
    assert (lower.shaping.priority, lower.constraints.priority) == (4, 4)
    higher = answer(rules, task=True, asked_priority=40)
    assert verdicts(higher) == ["no_match", "no_match", "no_match"]
    assert higher.shaping.priority == 10
    assert answer(rules, task=True, asked_priority=40, may_raise=True).shaping.priority == 40
    assert verdicts(answer(rules)) == ["no_match", "applied", "no_match"]


@pytest.mark.req("INT-2", "INT-3")
def test_rules_add_up_and_later_ones_see_what_earlier_ones_did(answer: Any) -> None:
    decision = answer(
        """
  - {name: one, when: request.model == "big", then: {model: small, max_tokens: 500}}
  - {name: two, when: request.model == "small" && request.max_tokens == 500, then: {priority: 3}}
  - {name: three, when: request.priority == 3, then: {params: {temperature: 0.5, top_k: 4}}}
  - {name: four, when: request.intent == "interactive", then: {priority: 4, params: {temperature: 0}}}
""",
        max_tokens=900,
    )
    assert verdicts(decision) == ["applied"] * 4
    assert decision.shaping.model == "small"
    assert decision.shaping.max_tokens == 500
    assert decision.shaping.priority == 4
    assert {n: bytes(raw) for n, raw in decision.shaping.params.items()} == {
        "temperature": b"0",
        "top_k": b"4",
    }
    assert decision.rules[0].changes == ("model big -> small", "max_tokens 900 -> 500")
    assert decision.constraints.priority == 4


def test_a_rules_pool_is_the_one_of_the_model_chosen_so_far(answer: Any) -> None:
    decision = answer(
        """
  - {name: busy, when: pool.id == "cluster" && pool.queued > 8 && pool.inflight < pool.limit, then: {model: near}}
  - {name: moved, when: pool.id == "local" && pool.queued == 0, then: {priority: 1}}
  - {name: by id, when: 'pools["cluster"].ready_endpoints == 1', then: {max_tokens: 7}}
"""
    )
    assert verdicts(decision) == ["applied"] * 3


def test_without_an_explanation_only_rules_that_did_something_are_told(answer: Any) -> None:
    rules = "  - {name: a, when: request.n > 5, then: {priority: 1}}\n  - {name: b, then: {priority: 2}}\n"
    assert [o.rule for o in answer(rules, explain=False).rules] == ["b"]
    full = answer(rules)
    assert verdicts(full) == ["no_match", "applied"]
    assert full.rules[0].why == "request.n is 1"
    assert answer(rules, explain=False).intents == ()


@pytest.mark.req("INT-2")
def test_a_rule_that_refuses_ends_the_evaluation(answer: Any) -> None:
    decision = answer(
        """
  - {name: before, then: {max_tokens: 9}}
  - {name: no, when: request.stream, then: {reject: {retry_after: 10s, message: later, status: 503}}}
  - {name: after, then: {max_tokens: 1, model: small}}
""",
        stream=True,
    )
    assert verdicts(decision) == ["applied", "applied", "not_evaluated"]
    reject = decision.shaping.reject
    assert (reject.message, reject.retry_after_s, reject.status) == ("later", 10.0, 503)
    assert decision.models == ()
    assert decision.shaping.max_tokens == 9


def test_a_dry_run_is_told_and_changes_nothing(
    answer: Any, compiled: Any, catalog: Catalog
) -> None:
    rules = "  - {name: a, then: {model: small, reject: {}}, dry_run: true}\n"
    decision = answer(rules, explain=False)
    assert decision.shaping.model == "big"
    assert decision.shaping.reject is None
    assert decision.rules[0].verdict == "dry_run"
    assert decision.rules[0].changes == ("model big -> small", "refused with 429")
    file = compiled(INTENTS, "dry_run: true\nrules: [{name: a, then: {priority: 1}}]")
    assert decide(file, catalog, request(), BUSY).shaping.priority == 10


def test_a_condition_that_fails_counts_as_no_match_and_says_so(answer: Any) -> None:
    decision = answer(
        """
  - {name: divides, when: 10 / request.tools > 1, then: {priority: 1}}
  - {name: goes on, then: {priority: 2}}
""",
        explain=False,
    )
    assert verdicts(decision) == ["error", "applied"]
    assert "division by zero" in decision.rules[0].why
    assert decision.shaping.priority == 2


@pytest.mark.parametrize(("asked", "given_to"), [(None, 100), (50, None), (100, None), (900, 100)])
def test_a_cap_is_the_lowest_of_all_and_never_raises(
    answer: Any, asked: int | None, given_to: int | None
) -> None:
    rules = "  - {name: a, then: {max_tokens: 100}}\n  - {name: b, then: {max_tokens: 400}}\n"
    assert answer(rules, max_tokens=asked).shaping.max_tokens == given_to


def test_an_embedding_has_no_tokens_to_cap(answer: Any) -> None:
    rules = "  - {name: a, then: {max_tokens: 100}}\n"
    assert answer(rules, operation="embedding").shaping.max_tokens is None


def test_a_new_intent_brings_its_priority_unless_the_rule_names_one(answer: Any) -> None:
    decision = answer("  - {name: a, then: {intent: batch}}\n")
    assert (decision.intent, decision.shaping.priority) == ("batch", -10)
    assert decision.constraints.objective == "sheddable"
    assert decision.rules[0].changes == ("intent interactive -> batch", "priority 10 -> -10")
    told = {outcome.intent: outcome for outcome in decision.intents}
    assert told["batch"].chosen
    assert told["batch"].why == "set by rule 'a'"
    assert "but rule 'a' changed it" in told["interactive"].why
    assert answer("  - {name: a, then: {intent: batch, priority: 3}}\n").shaping.priority == 3


# -- models, pools, the floor -----------------------------------------------------------


def test_the_route_follows_the_model_and_keeps_to_the_floor(answer: Any) -> None:
    decision = answer("")
    assert decision.models == ("big", "small", "near")
    assert answer("", headers={"x-intent": "batch"}).models == (
        "big", "small", "tiny", "near", "unrated",
    )  # fmt: skip


@pytest.mark.req("INT-11")
@pytest.mark.parametrize("model", ["tiny", "unrated"])
def test_a_rule_cannot_bring_in_a_model_below_the_floor(
    compiled: Any, catalog: Catalog, model: str
) -> None:
    intents = INTENTS.replace("quality_floor: 0.6", "quality_floor: 0.2")
    policy = compiled(intents, f"rules: [{{name: cheap, then: {{model: {model}, max_tokens: 5}}}}]")
    facts = request(headers={"x-intent": "premium"})
    decision = decide(policy, catalog, facts, BUSY)
    assert decision.rules[0].verdict == "held_by_floor"
    assert model in decision.rules[0].why
    assert decision.models == ("big",)
    assert decision.shaping.max_tokens == 5  # the rule's other actions stand


@pytest.mark.req("INT-11")
def test_a_client_cannot_ask_for_less_than_was_promised(answer: Any) -> None:
    with pytest.raises(
        BelowQualityFloor, match=r"tiny has quality 0\.3.*big, near, small"
    ) as caught:
        answer("", model="tiny")
    assert caught.value.status == 400
    assert caught.value.param == "model"
    assert answer("", model="tiny", headers={"x-intent": "batch"}).models == ("tiny",)
    assert answer("  - {name: up, when: request.model == 'tiny', then: {model: near}}\n", model="tiny").models == ("near",)  # fmt: skip


@pytest.mark.req("INT-11")
def test_an_unrated_model_is_the_clients_to_choose(answer: Any) -> None:
    assert answer("", model="unrated").models == ("unrated",)


@pytest.mark.req("INT-11")
def test_a_floor_that_rises_undoes_the_choice_of_an_earlier_rule(answer: Any) -> None:
    decision = answer(
        """
  - {name: cheaper, then: {model: near}}
  - {name: cheapest, then: {model: small}}
  - {name: vip, when: request.model == "small", then: {intent: premium}}
"""
    )
    assert decision.models == ("big",)
    assert "model small -> big (the floor is now 0.85)" in decision.rules[2].changes
    with pytest.raises(BelowQualityFloor):
        answer("  - {name: vip, then: {intent: premium}}\n", model="small")


@pytest.mark.req("INT-11")
def test_only_the_choices_that_the_new_floor_forbids_are_undone(
    compiled: Any, catalog: Catalog
) -> None:
    policy = compiled(
        INTENTS.replace("0.85", "0.75"),
        """
rules:
  - {name: a, then: {model: near}}
  - {name: b, then: {model: small}}
  - {name: c, then: {intent: premium}}
""",
    )
    assert decide(policy, catalog, request(), BUSY).shaping.model == "near"


def test_bytes_that_are_no_text_are_values_like_others(answer: Any) -> None:
    rules = """
  - {name: a, when: 'request.headers["x"] != "" && request.headers.all(h, h != "")', then: {priority: 1}}
"""
    assert answer(rules, headers={"x": "\udcff", "\udcfe": ""}).shaping.priority == 1


def test_what_a_client_named_is_told_escaped_and_cut(answer: Any) -> None:
    decision = answer("  - {name: a, then: {model: big}}\n", model="\x1b" + "x" * 500)
    assert decision.rules[0].changes[0].startswith("model \\x1bxxx")
    assert len(decision.rules[0].changes[0]) < 80


def test_a_pool_confines_the_route(answer: Any) -> None:
    decision = answer("  - {name: here, then: {pool: local}}\n")
    assert decision.shaping.pool == "local"
    assert decision.models == ("near",)
    assert decision.rules[0].changes == ("pool any -> local", "model big -> near")
    later = answer("  - {name: a, then: {pool: local}}\n  - {name: b, then: {model: small}}\n")
    assert later.shaping.pool is None
    assert later.models == ("small",)


def test_a_pool_that_cannot_serve_the_route_is_not_taken(answer: Any) -> None:
    nowhere = answer("  - {name: here, then: {pool: local}}\n", model="small")
    assert nowhere.rules[0].verdict == "error"
    assert nowhere.rules[0].why.endswith("no model on the route of small is in pool local")
    assert nowhere.models == ("small",)
    held = answer("  - {name: here, then: {pool: local}}\n", headers={"x-intent": "premium"})
    assert held.rules[0].verdict == "held_by_floor"


def test_a_model_that_does_not_exist_is_named_with_those_that_do(answer: Any) -> None:
    with pytest.raises(ModelNotFound) as caught:
        answer("", model="smal\x1b")
    told = caught.value
    assert (told.status, told.param) == (404, "model")
    assert "Did you mean 'small'? Models that do: big, near, small, tiny, unrated." in told.message
    assert "\x1b" not in told.message


def test_the_names_told_are_bounded(compiled: Any) -> None:
    cards = {f"m{n}": ModelCard(name=f"m{n}", pool="p", upstream="u") for n in range(500)}
    with pytest.raises(ModelNotFound, match="and 488 more") as caught:
        decide(compiled(), Catalog(models=cards), request(model="x" * 9000), Snapshot())
    assert len(caught.value.message) < 400


def test_a_rule_can_rename_a_model_that_does_not_exist(answer: Any) -> None:
    rules = "  - {name: alias, when: 'request.model.startsWith(\"gpt-\")', then: {model: big}}\n"
    assert answer(rules, model="gpt-4o").models[0] == "big"


def test_before_any_backend_has_listed_a_model_the_answer_is_to_wait(compiled: Any) -> None:
    with pytest.raises(NoReadyBackend) as caught:
        decide(compiled(), Catalog(discovering=True), request(), Snapshot())
    assert caught.value.retry_after_s


def test_a_rule_whose_model_has_not_been_discovered_is_idle(answer: Any, catalog: Catalog) -> None:
    against = structs.replace(catalog, discovering=True)
    decision = answer("  - {name: a, then: {model: later, priority: 1}}\n", against=against)
    assert decision.models[0] == "big"
    assert decision.rules[0].verdict == "error"
    assert decision.shaping.priority == 1


# -- constraints ------------------------------------------------------------------------


@pytest.mark.req("INT-8")
def test_fairness_is_by_key_then_by_a_hash_of_the_user(answer: Any) -> None:
    assert answer("", key="web", user="ann").constraints.fairness_id == "web"
    ann = answer("", user="ann@example.org").constraints.fairness_id
    assert ann == answer("", user="ann@example.org").constraints.fairness_id
    assert ann.startswith("user-")
    assert "ann" not in ann
    assert answer("").constraints.fairness_id is None
    for odd in ("k" * 500, "a\r\nx: y", "\udcff", "clé"):
        shared = answer("", key=odd).constraints.fairness_id
        assert shared.startswith("key-")
        assert len(shared) <= FAIRNESS_ID_MAX_CHARS


# -- cost -------------------------------------------------------------------------------


@pytest.mark.req("INT-2")
def test_only_the_values_that_rules_name_are_built(
    compiled: Any, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = compiled(
        "rules: [{name: a, when: request.n > 1 && request.n < 5, then: {priority: 1}}]"
    )
    built = []
    original = EvaluationContext.value
    monkeypatch.setattr(
        EvaluationContext,
        "value",
        lambda self, reference, shape: (
            built.append(reference.label) or original(self, reference, shape)
        ),
    )
    decide(policy, catalog, request(headers={"x": "y"}), Snapshot())
    assert built == [], "its first test tells that it does not match"
    decide(policy, catalog, request(headers={"x": "y"}, n=3), Snapshot())
    assert set(built) == {"request.n"}


# -- for every policy and every catalogue ------------------------------------------------

NAMES = st.sampled_from(["m0", "m1", "m2", "m3"])
POOLS = st.sampled_from(["p0", "p1"])
QUALITY = st.one_of(st.none(), st.integers(0, 4).map(lambda n: n / 4))
CONDITIONS = st.sampled_from(
    [
        None,
        "request.stream",
        "request.max_tokens > 2",
        'request.model == "m1"',
        'request.key == "other" && pool.queued < 2',
        "request.prompt_tokens > 100",
        'request.intent == "i1" && pool.queued < 2',
        "10 / request.tools > 2",
        'request.headers["x-a"] == "1" || "x-b" in request.headers',
        'request.headers["x-a"] != "1" && request.tools > 3',
        "request.priority <= 1",
        'request.headers.exists(h, request.headers[h] == "1")',
        'pools["p1"].queued > 0 && request.priority >= 0 && request.user != request.key',
    ]
)
THEN = st.fixed_dictionaries(
    {},
    optional={
        "model": NAMES,
        "max_tokens": st.integers(1, 6),
        "priority": st.integers(-2, 2),
        "pool": POOLS,
        "intent": st.sampled_from(["i0", "i1"]),
        "params": st.just({"temperature": 0.5}),
        "reject": st.just({"retry_after": "2s"}),
    },
).filter(bool)
RULE = st.fixed_dictionaries(
    {"then": THEN}, optional={"when": CONDITIONS.filter(bool), "dry_run": st.booleans()}
)
TEXTS = st.text(max_size=6)
RAW_TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)
"""As headers may have them: with lone surrogates for bytes that are no UTF-8."""
FACTS = st.builds(
    RequestFacts,
    operation=st.sampled_from(["chat", "completion", "embedding"]),
    model=st.one_of(NAMES, TEXTS),
    stream=st.booleans(),
    max_tokens=st.one_of(st.none(), st.integers(1, 6), st.just(2**70)),
    tools=st.integers(0, 9),
    key=RAW_TEXTS,
    user=RAW_TEXTS,
    headers=st.dictionaries(
        st.sampled_from(["x-a", "x-b", "x-slo-ttft-ms", "x-setpoint-intent"]),
        st.one_of(RAW_TEXTS, st.sampled_from(["1", "i1"])),
    ),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[PolicySet, Catalog]:
    """A catalogue and a policy that loads in it."""
    cards = {
        name: ModelCard(name=name, pool=draw(POOLS), upstream=name, quality=draw(QUALITY))
        for name in draw(st.sets(NAMES))
    }
    catalog = Catalog(
        models=cards,
        pools=frozenset({"p0", "p1"}),
        routes=draw(st.dictionaries(NAMES, st.lists(NAMES, max_size=3).map(tuple))),
        discovering=True,
    )
    intents = [
        {"name": "i0", "quality_floor": draw(QUALITY), "match": {"default": True}},
        {
            "name": "i1",
            "priority": 1,
            "quality_floor": draw(QUALITY),
            "match": {"header": {"x-setpoint-intent": "i1"}, "key": ["another"], "model": ["m1"]},
        },
    ]
    rules = [{"name": f"r{n}", **rule} for n, rule in enumerate(draw(st.lists(RULE, max_size=5)))]
    text = msgspec.json.encode({"intents": intents, "rules": rules}).decode()
    reading = read(text, PolicyFile, file="w.yaml")
    try:
        return compile_policies([reading], catalog), catalog
    except ProblemsFound:  # a model provably below a floor: that policy never gets to decide
        return compile_policies([], catalog), catalog


def _taken(decision: Decision) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (told.rule, told.verdict, told.changes)
        for told in decision.rules
        if told.verdict not in ("no_match", "not_evaluated")
    ]


@pytest.mark.req("INT-2", "INT-11")
@given(world=worlds(), facts=FACTS, explain=st.booleans())
def test_what_holds_for_every_policy_and_request(
    world: tuple[PolicySet, Catalog], facts: RequestFacts, explain: bool
) -> None:
    policy, catalog = world
    snapshot = Snapshot(pools={"p1": PoolSignals(queued=1)})
    try:
        decision = decide(policy, catalog, facts, snapshot, explain=explain)
    except (BelowQualityFloor, ModelNotFound, NoReadyBackend):
        return  # and anything else is a bug
    assert decide(policy, catalog, facts, snapshot, explain=explain) == decision
    other = decide(policy, catalog, facts, snapshot, explain=not explain)
    assert (other.shaping, other.models, _taken(other)) == (
        decision.shaping,
        decision.models,
        _taken(decision),
    ), "an explanation tries each rule; a decision only those that may match"
    floor = policy.intent(decision.intent).quality_floor
    for name in decision.models:
        quality = catalog.models[name].quality
        assert floor is None or (name == facts.model if quality is None else quality >= floor)
    assert len(set(decision.models)) == len(decision.models)
    cap = decision.shaping.max_tokens
    assert cap is None or facts.max_tokens is None or cap < facts.max_tokens
    if decision.shaping.reject is None:
        assert decision.models[0] == decision.shaping.model
    else:
        assert decision.models == ()
        seen = [o.verdict for o in decision.rules]
        ended = max(n for n, o in enumerate(decision.rules) if o.verdict not in ("not_evaluated",))
        assert "refused with 429" in decision.rules[ended].changes
        assert set(seen[ended + 1 :]) <= {"not_evaluated"}
    if decision.shaping.pool is not None:
        assert {catalog.models[m].pool for m in decision.models} <= {decision.shaping.pool}
    assert decision.constraints.priority == decision.shaping.priority
    assert len(decision.constraints.fairness_id or "") <= FAIRNESS_ID_MAX_CHARS
    assert decision.summary.isascii()
    assert msgspec.json.decode(msgspec.json.encode(decision)) is not None


# -- what the loop holds --------------------------------------------------------------------


def held(action: int, rung: Any, **more: Any) -> HeldRung:
    return HeldRung(action=action, rung=Rung.parse(rung), **more)


def decline(action: int = 9, rung: Any = "shed", **more: Any) -> Decline:
    told = {"intent": "premium", "below": 20, "pools": frozenset({"cluster"}), "retry_after_s": 4.0}
    return Decline(action=action, rung=Rung.parse(rung), **{**told, **more})


@pytest.fixture(scope="session")
def held_answer(compiled: Any, catalog: Catalog) -> Any:
    """`held_answer(holding, draws, rules, **request fields)`."""

    def decided(
        holding: Holding, draws: Draws = NO_DRAWS, rules: str = "", **fields: Any
    ) -> Decision:
        policy = compiled(INTENTS, f"rules:\n{rules}" if rules else "")
        return decide(policy, catalog, request(**fields), BUSY, holding=holding, draws=draws)

    return decided


@pytest.mark.req("INT-3", "INT-5")
def test_what_is_held_comes_after_the_rules_and_in_its_own_order(held_answer: Any) -> None:
    holding = Holding(
        rungs={"interactive": (held(1, {"switch_model": "small"}), held(2, {"cap_tokens": 50}))}
    )
    rules = "  - {name: r, then: {max_tokens: 80}}\n"
    decision = held_answer(holding, rules=rules)
    assert [(o.rule, o.verdict, o.changes) for o in decision.rules] == [
        ("r", "applied", ("max_tokens unset -> 80",)),
        ("rung switch_model", "applied", ("model big -> small",)),
        ("rung cap_tokens", "applied", ("max_tokens 80 -> 50",)),
    ]
    assert (decision.models, decision.shaping.max_tokens) == (("small",), 50)
    assert decision.treated == (1, 2)
    assert "rung switch_model: model big -> small" in decision.summary


def test_what_is_held_for_another_intent_is_not_this_ones(held_answer: Any) -> None:
    holding = Holding(rungs={"premium": (held(1, {"cap_tokens": 5}),)})
    assert held_answer(holding).treated == ()
    premium = held_answer(holding, headers={"x-intent": "premium"})
    assert (premium.treated, premium.shaping.max_tokens) == ((1,), 5)
    renamed = held_answer(holding, rules="  - {name: r, then: {intent: premium}}\n")
    assert renamed.treated == (1,), "the intent in force counts"


def test_a_rung_that_changes_nothing_for_a_request_has_not_treated_it(held_answer: Any) -> None:
    holding = Holding(
        rungs={"interactive": (held(1, {"cap_tokens": 50}, unverified=True), held(2, "order"))}
    )
    decision = held_answer(holding, Draws(0.0, 0.0), max_tokens=9)
    assert (decision.treated, decision.held_out, decision.rules) == ((), (), ())


@pytest.mark.req("INT-11")
def test_a_held_rung_meets_the_floor_like_a_rule(held_answer: Any) -> None:
    holding = Holding(rungs={"interactive": (held(1, {"switch_model": "tiny"}),)})
    decision = held_answer(holding)
    assert verdicts(decision) == ["held_by_floor"]
    assert (decision.models[0], decision.treated) == ("big", ())


@pytest.mark.req("INT-6")
@pytest.mark.parametrize(
    ("priority", "unverified", "draw", "spared"),
    [
        (0, True, 0.09, True),
        (-10, True, 0.09, True),
        (0, True, 0.1, False),
        (1, True, 0.0, False),  # protected: nobody experiments with it
        (0, False, 0.0, False),  # proven: nobody needs to
    ],
)
def test_a_tenth_of_the_unprotected_is_spared_until_an_action_is_verified(
    held_answer: Any, priority: int, unverified: bool, draw: float, spared: bool
) -> None:
    holding = Holding(rungs={"interactive": (held(1, {"cap_tokens": 5}, unverified=unverified),)})
    rules = f"  - {{name: r, then: {{priority: {priority}}}}}\n"
    decision = held_answer(holding, Draws(spare=draw), rules=rules)
    assert decision.held_out == ((1,) if spared else ())
    assert decision.treated == (() if spared else (1,))
    assert decision.shaping.max_tokens == (None if spared else 5)
    assert decision.rules[-1].verdict == ("spared" if spared else "applied")
    assert decision.rules[-1].changes == ("max_tokens unset -> 5",)


@pytest.mark.req("INT-6", "INT-11")
def test_whom_the_floor_holds_is_not_counted_as_spared(held_answer: Any) -> None:
    unproven = held(1, {"switch_model": "tiny"}, unverified=True)
    holding = Holding(rungs={"interactive": (unproven,)})
    rules = "  - {name: r, then: {priority: 0}}\n"
    decision = held_answer(holding, Draws(spare=0.0), rules=rules)
    assert (decision.held_out, decision.treated) == ((), ())
    assert decision.rules[-1].verdict == "held_by_floor"


@pytest.mark.req("INT-2")
def test_a_rehearsed_rung_is_told_and_changes_nothing(held_answer: Any) -> None:
    holding = Holding(
        rungs={"batch": (held(1, {"cap_tokens": 5, "dry_run": True}, unverified=True),)},
        declines=(decline(rung={"shed": True, "dry_run": True}),),
    )
    decision = held_answer(holding, Draws(0.0, 0.0), headers={"x-intent": "batch"})
    assert [(o.rule, o.verdict) for o in decision.rules] == [
        ("rung shed", "dry_run"),
        ("rung cap_tokens", "dry_run"),
    ]
    assert (decision.treated, decision.held_out, decision.shed_for) == ((), (), None)
    assert (decision.shaping.reject, decision.shaping.max_tokens) == (None, None)


@pytest.mark.req("INT-5")
def test_who_is_turned_away_is_told_for_whose_sake_and_when_to_come_back(held_answer: Any) -> None:
    holding = Holding(
        declines=(decline(share=0.5, sheddable_only=True),),
        rungs={"batch": (held(1, {"cap_tokens": 5}),)},
    )
    decision = held_answer(holding, Draws(shed=0.49), headers={"x-intent": "batch"})
    assert decision.shed_for == "premium"
    assert decision.treated == (9,), "and no rung shapes what is refused"
    assert decision.models == ()
    reject = decision.shaping.reject
    assert (reject.status, reject.retry_after_s) == (503, 4.0)
    assert "higher priority than -10" in reject.message
    assert [(o.rule, o.why) for o in decision.rules] == [
        ("rung shed", "for the sake of intent premium")
    ]
    spared = held_answer(holding, Draws(shed=0.5), headers={"x-intent": "batch"})
    assert (spared.shed_for, spared.treated) == (None, (1,))


@pytest.mark.req("INT-5")
def test_only_lower_classes_of_the_same_pool_are_turned_away(held_answer: Any) -> None:
    shed = Holding(declines=(decline(sheddable_only=True),))
    refuse = Holding(declines=(decline(rung="refuse"),))
    calm = Draws(shed=0.0)
    assert held_answer(shed, calm).shaping.reject is None, "interactive may not be shed"
    assert held_answer(refuse, calm).shed_for == "premium"
    premium = {"x-intent": "premium"}
    assert held_answer(refuse, calm, headers=premium).shaping.reject is None
    batch = {"x-intent": "batch"}
    assert held_answer(refuse, calm, headers=batch).shed_for == "premium"
    assert held_answer(refuse, calm, headers=batch, model="tiny").shed_for is None, "elsewhere"


def test_a_rehearsed_request_is_neither_spared_nor_turned_away(held_answer: Any) -> None:
    """`explain` has no draws: it is told what would usually happen."""
    holding = Holding(
        declines=(decline(share=0.99),),
        rungs={"batch": (held(1, {"cap_tokens": 5}, unverified=True),)},
    )
    decision = held_answer(holding, headers={"x-intent": "batch"})
    assert (decision.shed_for, decision.treated) == (None, (1,))


def test_a_rule_that_refuses_has_the_last_word(held_answer: Any) -> None:
    holding = Holding(
        declines=(decline(rung="refuse"),), rungs={"interactive": (held(1, "order"),)}
    )
    decision = held_answer(holding, Draws(0.0, 0.0), "  - {name: no, then: {reject: {}}}\n")
    assert [o.rule for o in decision.rules] == ["no"]
    assert (decision.shed_for, decision.treated) == (None, ())


def test_a_hedge_is_for_the_shell_to_carry_out(held_answer: Any) -> None:
    holding = Holding(rungs={"interactive": (held(1, "hedge", hedge_after_s=0.6),)})
    assert held_answer(holding).hedge_after_s == 0.6
    assert held_answer(Holding()).hedge_after_s is None


HELD = st.builds(
    lambda rung, dry, unverified: HeldRung(
        action=1, rung=structs.replace(Rung.parse(rung), dry_run=dry), unverified=unverified
    ),
    st.sampled_from(
        [
            "reroute",
            "hedge",
            {"cap_tokens": 3},
            *({"switch_model": f"m{nth}"} for nth in range(4)),
        ]
    ),
    st.booleans(),
    st.booleans(),
)
HOLDINGS = st.builds(
    lambda i0, i1, below, share: Holding(
        rungs={"i0": tuple(i0), "i1": tuple(i1)},
        declines=(decline(below=below, share=share, pools=frozenset({"p0"})),),
    ),
    st.lists(HELD, max_size=4),
    st.lists(HELD, max_size=4),
    st.integers(-1, 2),
    st.sampled_from([0.0, 0.5, 1.0]),
)
DRAWS = st.builds(Draws, st.sampled_from([0.0, 0.09, 0.5]), st.sampled_from([0.0, 0.49, 0.9]))


@pytest.mark.req("INT-2", "INT-6", "INT-11")
@given(world=worlds(), facts=FACTS, holding=HOLDINGS, draws=DRAWS)
def test_what_holds_whatever_the_loop_holds(
    world: tuple[PolicySet, Catalog], facts: RequestFacts, holding: Holding, draws: Draws
) -> None:
    policy, catalog = world

    def decided(**more: Any) -> Decision | None:
        try:
            return decide(policy, catalog, facts, Snapshot(), holding=holding, draws=draws, **more)
        except (BelowQualityFloor, ModelNotFound, NoReadyBackend):
            return None

    decision = decided()
    assert decided() == decision
    if decision is None:
        return
    floor = policy.intent(decision.intent).quality_floor
    for name in decision.models:
        quality = catalog.models[name].quality
        assert floor is None or (name == facts.model if quality is None else quality >= floor)
    assert len(set(decision.models)) == len(decision.models)
    if decision.shaping.reject is None:
        assert decision.models[0] == decision.shaping.model
        assert decision.shed_for is None
    if decision.held_out:
        assert draws.spare < HOLDOUT
        assert decision.shaping.priority <= 0
    if decision.shed_for is not None:
        assert decision.shaping.priority < holding.declines[0].below
    acted = {o.rule for o in decision.rules if o.verdict == "applied" and o.rule[:5] == "rung "}
    assert bool(acted) == bool(decision.treated)


USUAL = RequestFacts(operation="chat", model="m0", key="k")
CHANGES = st.sampled_from(
    [
        {},
        {"max_tokens": 3},
        {"tools": 9},
        {"prompt_tokens": 101},
        {"model": "m1"},
        {"key": "other"},
        {"key": "another"},
        {"key": "", "user": "u"},
        {"key": "", "user": "w"},
        {"task": True},
        {"asked_priority": 5},
        {"asked_priority": 5, "may_raise": True},
        {"headers": {"x-a": "1"}},
        {"headers": {"x-slo-ttft-ms": "9"}},
        {"headers": {"x-setpoint-intent": "i1"}},
        {"headers": {"x-setpoint-intent": "i1"}, "key": "other"},
        {"headers": {"x-setpoint-intent": "nobody's"}},
    ]
)
MOMENTS = st.sampled_from([Snapshot(), Snapshot(pools={"p0": PoolSignals(queued=5)})])


@pytest.mark.req("OPS-4", "INT-2")
@given(
    world=worlds(),
    turns=st.lists(st.tuples(CHANGES, st.just(CALM) | HOLDINGS, MOMENTS), min_size=4, max_size=8),
    draws=DRAWS,
)
def test_what_is_remembered_is_what_would_be_decided(
    world: tuple[PolicySet, Catalog],
    turns: list[tuple[dict[str, Any], Holding, Snapshot]],
    draws: Draws,
) -> None:
    policy, known = world
    good = ModelCard(name="m0", pool="p0", upstream="m0", quality=1.0)
    catalog = structs.replace(known, models={**known.models, "m0": good})
    usual = Usual(policy, catalog)

    def decided(asked: RequestFacts, snapshot: Snapshot, **more: Any) -> Decision | str:
        try:
            return decide(policy, catalog, asked, snapshot, draws=draws, **more)
        except (BelowQualityFloor, ModelNotFound, NoReadyBackend) as exc:
            return str(exc)

    for changes, holding, snapshot in [*turns, *turns]:
        asked = structs.replace(USUAL, **changes)
        for explain in (False, True):
            more = {"holding": holding, "explain": explain}
            remembered = decided(asked, snapshot, usual=usual, **more)
            assert remembered == decided(asked, snapshot, **more)
