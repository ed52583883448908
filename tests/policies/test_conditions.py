"""Conditions: what loads, what is refused and where, what an absent header means."""

from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cel_names import Finding
from policies.cel_tokens import tokenize
from policies.conditions import (
    MAX_SOURCE_CHARS,
    InvalidCondition,
    NotBoolean,
    compile_condition,
)
from policies.vocabulary import POOL_FIELDS, REQUEST_FIELDS, sample

POOLS = frozenset({"local", "cluster"})


def holds(source: str, headers: dict[str, str] | None = None, **fields: Any) -> bool:
    """Evaluate with the given request fields; the others as a bare request has them."""
    condition = compile_condition(source, POOLS)
    context = cel.Context()
    given_headers = headers or {}
    for reference in condition.references:
        match reference.of:
            case "header":
                value: Any = given_headers.get(reference.name, "")
            case "headers":
                value = given_headers
            case "headers_in":
                value = {n: v for n, v in given_headers.items() if n in reference.only}
            case _:
                value = fields.get(reference.name, sample(reference.kind, "", 0, False))
        context.add_variable(reference.slot, value)
    return condition.holds(context)


@pytest.mark.req("INT-2")
@pytest.mark.parametrize("field", sorted(set(REQUEST_FIELDS) - {"headers"}))
def test_every_field_of_a_request_has_a_name(field: str) -> None:
    literal = {"str": '""', "int": "0", "bool": "false"}[REQUEST_FIELDS[field]]
    assert holds(f"request.{field} == {literal}")


@pytest.mark.parametrize("field", sorted(POOL_FIELDS))
def test_every_field_of_a_pool_has_a_name(field: str) -> None:
    literal = '""' if field == "id" else "0"
    assert holds(f"pool.{field} == {literal}")
    if field != "id":
        assert holds(f'pools["local"].{field} == 0 && pools.cluster.{field} == 0')


@pytest.mark.req("INT-2")
@pytest.mark.parametrize(
    ("source", "column", "words"),
    [
        ('request.modle == "a"', 9, ["request.modle", "did you mean 'model'?"]),
        ('reqest.model == "a"', 1, ["'reqest'", "did you mean 'request'?"]),
        ('  model == "a"', 3, ["'model'", "request.model"]),
        ("pool.severity > 1.5", 6, ["pool.severity", "queued"]),
        ("inflight > 2", 1, ["pool.inflight"]),
        ('pools["clster"].queued > 1', 7, ["clster", "did you mean 'cluster'?"]),
        ("pools[request.model].queued > 1", 1, ["quotes"]),
        ('pools["local"].id == "x"', 16, ["unknown field"]),
        ('request.model.contans("x")', 15, ["did you mean 'contains'?"]),
        ('startsWith(request.model, "x")', 1, ["write x.startsWith"]),
        ("now() > 3", 1, ["unknown function 'now'"]),
        ("has(request.model)", 1, ["every name has a value"]),
        ("request == 1", 1, ["not a value"]),
        ('.request.model == "a"', 2, ["leading dot"]),
        ("request.n = 1", 11, ["write =="]),
        ("request.stream and true", 16, ["write &&"]),
        ("request.n >", 12, ["the end"]),
        ("", 1, ["the end"]),
        ('"open', 1, ["syntax error"]),
        ("1 + 1", 1, ["true or false", "2"]),
        ("request.max_tokens", 1, ["true or false"]),
        ('request.n > "5"', 1, ["types do not fit"]),
        ('request.model == "x" && request.n > "5"', 1, ["types do not fit"]),
        ("request.model.contains(1)", 1, ["does not take these arguments"]),
        ('request.model.matches("(")', 1, ["regular expression"]),
        ("request.headers.all(a, request.headers.all(b, a == b))", 40, ["comprehension"]),
        ("[1].exists(request, true)", 12, ["cannot be a variable"]),
        ("[1].exists(_x, true)", 12, ["cannot be a variable"]),
        ("[1].exists(x, y == x)", 15, ["'y'"]),
        ("[1].exists(x, x > 0) && x", 25, ["'x'"]),
    ],
)
def test_a_mistake_is_refused_at_its_place_with_the_remedy(
    source: str, column: int, words: list[str]
) -> None:
    with pytest.raises(InvalidCondition) as caught:
        compile_condition(source, POOLS)
    first = caught.value.findings[0]
    assert (first.line, first.column) == (1, column)
    for word in words:
        assert word in f"{first.message} {first.hint}"


def test_all_wrong_names_are_told_at_once() -> None:
    with pytest.raises(InvalidCondition) as caught:
        compile_condition('request.a == 1 &&\n  pool.b > 2 || foo("request.c")', POOLS)
    assert [(f.line, f.column) for f in caught.value.findings] == [(1, 9), (2, 8), (2, 17)]


@pytest.mark.parametrize(
    "source",
    [
        'request.headers.exists(h, h == "x-team")',
        'request.headers.all(request_model, request_model != "x")',
        '["a", "b"].exists(m, m == request.model) || [1].exists(m, m > request.n)',
        'request.model == "request.nonsense && foo(1)" // and pool.nonsense',
        "request.model == '''request.nonsense''' || request.model == r\"\\d foo(\"",
        "size(request.headers) > 3 || request.model.size() > 3",
        "request\n  .model == 'a'",
        "[1, 2].map(x, x * 2) == [2, 4]",
    ],
)
def test_words_in_texts_comments_and_comprehensions_are_not_names(source: str) -> None:
    compile_condition(source, POOLS)


def test_an_absent_header_reads_as_empty_and_does_not_end_the_evaluation() -> None:
    assert not holds('request.headers["x-team"] == "nightly"')
    assert holds('request.headers["x-team"] != "nightly"')
    assert holds('request.headers["x-team"] == "" || request.stream')
    assert holds('request.headers["x-team"] == "a" || request.n == 1', n=1)
    assert not holds('request.headers["x-team"].startsWith("n")')


def test_whether_a_header_is_there_is_asked_with_in() -> None:
    there = {"x-team": ""}
    assert holds('"x-team" in request.headers', there)
    assert not holds('"x-team" in request.headers')
    assert holds('"X-Team" in request.headers && !("x-b" in request.headers)', there)
    assert holds('"x-" + "team" in request.headers', there)
    assert holds('"x-team" in request.headers && size(request.headers) == 1', there)


def test_header_names_in_conditions_are_case_blind() -> None:
    assert holds('request.headers["X-Team"] == "a"', {"x-team": "a"})
    assert holds('request.headers.host == "a"', {"host": "a"})


def test_only_what_is_named_is_needed() -> None:
    names = compile_condition('request.headers["x"] == "1" && request.n > 0').references
    assert [reference.label for reference in names] == ['request.headers["x"]', "request.n"]
    asked = compile_condition('"x" in request.headers').references
    assert [(reference.of, reference.only) for reference in asked] == [("headers_in", ("x",))]


def test_a_result_that_depends_on_data_may_still_fail_and_says_so() -> None:
    divides = compile_condition("100 / request.n > 5")
    context = cel.Context()
    context.add_variable("__request_n", 0)
    with pytest.raises(ZeroDivisionError):
        divides.holds(context)
    odd = compile_condition('request.user == "only-this-one-y" && request.n == 77 ? 1 == 1 : true')
    assert odd.source.endswith("true")


def test_a_value_that_is_not_a_boolean_is_never_taken_for_one() -> None:
    sly = compile_condition('request.model.contains("qq") && request.n > 900 ? 1 : false')
    context = cel.Context()
    context.add_variable("__request_model", "aqqa")
    context.add_variable("__request_n", 9000)
    with pytest.raises(NotBoolean, match="1"):
        sly.holds(context)


@pytest.mark.req("SEC-5")
def test_a_condition_has_a_longest_length() -> None:
    with pytest.raises(InvalidCondition, match="at most"):
        compile_condition("true || " * (MAX_SOURCE_CHARS // 8) + "true")
    with pytest.raises(InvalidCondition):
        compile_condition("(" * 900 + "true" + ")" * 900)


PIECES = st.sampled_from(
    [
        *("request", ".", "model", "headers", "pool", "pools", "queued", "matches", "size"),
        *("[", "]", "(", ")", "{", "}", "exists", "(", "x", ",", "x", "in", "true", "//", "\n"),
        *("==", "&&", "||", "!", "?", ":", "+", "-", "1", "2.5", "0x1F", "u", "9" * 19),
        *('"x"', "'y'", '"local"', r'r"\"', '"""', "\\", "é"),
    ]
)


@pytest.mark.req("SEC-4")
@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=24).map(" ".join)))
def test_no_text_makes_the_compiler_fail_otherwise_than_it_says(source: str) -> None:
    assert "".join(token.text for token in tokenize(source)) == source
    findings: tuple[Finding, ...] = ()
    try:
        assert compile_condition(source, POOLS).source == source
    except InvalidCondition as exc:
        findings = exc.findings
    assert all(found.line >= 1 and found.column >= 1 for found in findings)
