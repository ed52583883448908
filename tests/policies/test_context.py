"""The values that conditions read: there for every request, and never the reason of a failure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import Catalog
from contracts.inference import RequestFacts
from contracts.policy import Intent
from contracts.snapshot import PoolSignals, Snapshot
from policies import references
from policies.conditions import compile_condition
from policies.context import EvaluationContext, pool_of
from policies.effects import Shape, begin
from policies.quality import Choice
from policies.references import Reference
from policies.vocabulary import POOL_FIELDS, POOL_SIGNALS, REQUEST_FIELDS, Kind

TYPES: dict[Kind, type] = {"str": str, "int": int, "double": float, "bool": bool, "map": dict}
UNKNOWN = {"backend_waiting", "backend_running", "kv_cache_usage"}
INTENT = Intent(name="interactive", priority=10)
BUSY = Snapshot(pools={"cluster": PoolSignals(queued=9, limit=4), "local": PoolSignals(limit=1)})
EVERY: tuple[Reference, ...] = (
    *(references.request_field(name) for name in sorted(set(REQUEST_FIELDS) - {"headers"})),
    *(references.pool_field(name) for name in POOL_FIELDS),
    *(references.pools_signal("local", name) for name in POOL_SIGNALS),
    references.header("x-a"),
    references.headers(),
    references.headers(("x-a", "x-b")),
)


def shaped(**changes: Any) -> Shape:
    fields = {
        "intent": INTENT, "priority": 10, "choices": (Choice("big"),), "models": ("big",), "max_tokens": None,
    }  # fmt: skip
    return Shape(**{**fields, **changes})


def facts(**fields: Any) -> RequestFacts:
    return RequestFacts(**{"operation": "chat", "model": "big", **fields})


def value(label: str, catalog: Catalog, *, shape: Shape | None = None, **fields: Any) -> Any:
    """What `label`, an expression, has as its one reference's value."""
    (reference,) = compile_condition(f"{label} == {label}").references
    given_facts = facts(**fields)
    context = EvaluationContext((), given_facts, shape or shaped(), BUSY, catalog)
    return context.value(reference, shape or shaped())


def test_what_is_absent_reads_as_empty_or_zero(catalog: Catalog) -> None:
    assert value("request.max_tokens", catalog) == 0
    assert value('request.headers["x-a"]', catalog) == ""
    assert value("request.user", catalog) == ""
    assert value('pools["nowhere"].queued', catalog) == 0
    nowhere = shaped(choices=(Choice("unknown"),), models=())
    assert value("pool.id", catalog, shape=nowhere) == ""
    assert value("pool.queued", catalog, shape=nowhere) == 0


def test_signals_are_those_of_the_pool_that_is_meant(catalog: Catalog) -> None:
    assert value("pool.id", catalog) == "cluster"
    assert value("pool.queued", catalog) == 9
    assert value('pools["local"].limit', catalog) == 1


def test_the_pool_is_the_one_that_would_be_tried_first(catalog: Catalog) -> None:
    assert pool_of(shaped(), catalog) == "cluster"
    assert pool_of(shaped(models=("near", "big")), catalog) == "local"
    assert pool_of(shaped(choices=(Choice("big", "local"),), models=("near",)), catalog) == "local"
    assert pool_of(shaped(choices=(Choice("unknown"),), models=()), catalog) == ""


@pytest.mark.req("INT-2")
def test_what_rules_changed_is_seen_only_after_a_refresh(catalog: Catalog) -> None:
    conditions = [
        compile_condition(source)
        for source in (
            'request.model == "near"',
            "request.max_tokens == 7",
            'request.intent == "batch"',
            "request.priority == -1",
            'pool.id == "local" && pool.limit == 1',
        )
    ]
    wanted = tuple(sorted({name for condition in conditions for name in condition.references}))
    context = EvaluationContext(wanted, facts(), shaped(), BUSY, catalog)
    changed = shaped(
        intent=Intent(name="batch"), priority=-1, choices=(Choice("near"),), models=("near",), max_tokens=7
    )  # fmt: skip
    assert [condition.holds(context.cel) for condition in conditions] == [False] * 5
    context.refresh(changed)
    assert [condition.holds(context.cel) for condition in conditions] == [True] * 5


def test_a_number_beyond_64_bits_compares_like_the_largest(catalog: Catalog) -> None:
    assert value("request.n", catalog, n=2**80) == 2**63 - 1
    assert value("request.max_tokens", catalog, shape=shaped(max_tokens=2**80)) == 2**63 - 1


def test_headers_asked_for_by_name_are_those_that_are_there(catalog: Catalog) -> None:
    reference = references.headers(("x-a", "x-b"))
    there = facts(headers={"x-b": "", "x-c": "1"})
    context = EvaluationContext((reference,), there, shaped(), BUSY, catalog)
    assert context.value(reference, shaped()) == {"x-b": ""}


def test_bytes_that_are_no_text_become_text(catalog: Catalog) -> None:
    condition = compile_condition(
        'request.user == "a?" && request.headers["x-a"] == "?" && "x-a" in request.headers'
        ' && request.headers.exists(h, h == "?")'
    )
    raw = facts(user="a\udcff", headers={"x-a": "\udcff", "\udcfe": ""})
    context = EvaluationContext(condition.references, raw, shaped(), BUSY, catalog)
    assert condition.holds(context.cel)


RAW = st.text(st.characters(exclude_categories=()), max_size=8)
"""As headers may have them: with lone surrogates for bytes that are no UTF-8."""


@pytest.mark.req("INT-2", "SEC-5")
@given(
    request=st.builds(
        RequestFacts,
        operation=st.sampled_from(["chat", "completion", "embedding"]),
        model=RAW,
        max_tokens=st.one_of(st.none(), st.integers(-(2**70), 2**70)),
        n=st.integers(1, 2**70),
        prompt_tokens=st.integers(0, 2**70),
        key=RAW,
        user=RAW,
        headers=st.dictionaries(st.one_of(RAW, st.just("x-a")), RAW, max_size=3),
    )
)
def test_every_value_is_of_its_kind_for_every_request(
    request: RequestFacts, catalog: Catalog
) -> None:
    shape = begin(INTENT, request, catalog)
    context = EvaluationContext(EVERY, request, shape, BUSY, catalog)
    context.refresh(shape)
    for reference in EVERY:
        found = context.value(reference, shape)
        if reference.of in ("pool", "pools") and reference.name in UNKNOWN:
            assert found is None
            assert not context.knows((reference,))
        else:
            assert type(found) is TYPES[reference.kind], reference.label
            assert context.knows((reference,))


@pytest.mark.req("INT-4")
def test_what_is_known_of_one_pool_is_not_known_of_another(catalog: Catalog) -> None:
    told = Snapshot(pools={"cluster": PoolSignals(backend_waiting=0, kv_cache_usage=0.25)})
    wanted = tuple(references.pool_field(name) for name in ("backend_waiting", "kv_cache_usage"))
    context = EvaluationContext(wanted, facts(), shaped(), told, catalog)
    assert context.knows(wanted)
    assert [context.value(reference, shaped()) for reference in wanted] == [0, 0.25]
    context.refresh(shaped(models=("near",)))  # which is in pool local
    assert not context.knows(wanted)
    context.refresh(shaped())
    assert context.knows(wanted)
