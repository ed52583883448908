"""The vocabulary fits what it describes: requests, pools, and CEL itself."""

import cel
import msgspec
import pytest

from contracts.inference import RequestFacts
from contracts.snapshot import PoolSignals
from policies.vocabulary import (
    CONSTANTS,
    ELSEWHERE,
    FUNCTIONS,
    METHODS,
    POOL_FIELDS,
    POOL_SIGNALS,
    REQUEST_FIELDS,
    ROOTS,
    Kind,
    sample,
)

SET_BY_RULES = {"intent", "priority"}
TO_DECIDE_BY = {"asked_priority", "may_raise", "wait_s"}
"""What a request asks for itself: of the priority, rules see what came of it."""
TYPES: dict[Kind, type] = {"str": str, "int": int, "double": float, "bool": bool, "map": dict}


def test_a_condition_may_ask_everything_that_is_known_of_a_request() -> None:
    known = set(RequestFacts.__struct_fields__) - TO_DECIDE_BY
    assert set(REQUEST_FIELDS) == known | SET_BY_RULES


def test_a_condition_may_ask_every_signal_of_a_pool() -> None:
    assert set(POOL_SIGNALS) == set(PoolSignals.__struct_fields__)
    assert set(POOL_FIELDS) == {"id", *POOL_SIGNALS}


def test_the_kinds_are_those_of_the_facts() -> None:
    facts = RequestFacts(operation="chat", model="m", max_tokens=1)
    for name in set(REQUEST_FIELDS) - SET_BY_RULES:
        assert type(getattr(facts, name)) is TYPES[REQUEST_FIELDS[name]], name
    told = PoolSignals(backend_waiting=1, backend_running=2, kv_cache_usage=0.5)
    for name, value in msgspec.structs.asdict(told).items():
        assert type(value) is TYPES[POOL_SIGNALS[name]], name


def test_what_only_a_backend_can_tell_is_unknown_until_it_does() -> None:
    unknown = {
        name for name, value in msgspec.structs.asdict(PoolSignals()).items() if value is None
    }
    assert unknown == {"backend_waiting", "backend_running", "kv_cache_usage"}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("text", ["", "a"])
@pytest.mark.parametrize("flag", [True, False])
def test_a_sample_is_of_its_kind(kind: Kind, text: str, flag: bool) -> None:
    value = sample(kind, text, 7, flag)
    assert type(value) is TYPES[kind]
    assert value in ({}, {"a": "a"}, text, 7, flag)


CALLS = {
    "size": "size('ab') == 2 && 'ab'.size() == 2",
    "int": "int('5') == 5",
    "uint": "uint(5) == 5u",
    "double": "double(1) == 1.0",
    "string": "string(5) == '5'",
    "contains": "'abc'.contains('b')",
    "startsWith": "'abc'.startsWith('a')",
    "endsWith": "'abc'.endsWith('c')",
    "matches": "'abc'.matches('^a.c$')",
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS | METHODS))
def test_every_function_that_is_offered_works(name: str) -> None:
    assert cel.compile(CALLS[name]).execute() is True


def test_the_words_of_other_languages_are_none_of_ours() -> None:
    assert not set(ELSEWHERE) & ({*ROOTS, *REQUEST_FIELDS, *POOL_FIELDS} | CONSTANTS | FUNCTIONS)
