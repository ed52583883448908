"""Names in conditions: each found once, checked at its place, and lowered to what means the same."""

from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cel_names import Names, read_names
from policies.references import Reference
from policies.vocabulary import MACROS

POOLS = frozenset({"local"})


def labels(source: str) -> list[str]:
    names = read_names(source, POOLS)
    assert names.findings == ()
    return [reference.label for reference in names.references]


@pytest.mark.parametrize(
    ("source", "lowered"),
    [
        ("request.max_tokens > 5", "__request_max_tokens > 5"),
        ("request\n.model == 'a' // why", "__request_model\n == 'a' // why"),
        ("pool.queued + pool.queued", "__pool_queued + __pool_queued"),
        ("pools.local.queued", "__pools_6c6f63616c_queued"),
        ('pools["local"].queued', "__pools_6c6f63616c_queued"),
        ('request.headers["X-A"]', "__header_782d61"),
        ("request.headers.host", "__header_686f7374"),
        ("'A' in request.headers", '"a" in __headers_61'),
        ("size(request.headers)", "size(__headers)"),
        ("[1].exists(h, h > request.n)", "[1].exists(h, h > __request_n)"),
        ("request.model in (['a'])", "__request_model in (['a'])"),
    ],
)
def test_a_name_becomes_one_flat_variable(source: str, lowered: str) -> None:
    names = read_names(source, POOLS)
    assert names.findings == ()
    assert names.lowered == lowered


def test_each_name_is_listed_once_and_in_one_order() -> None:
    told = labels("request.n > 1 && request.model == '' || request.n < 5 || pool.id == 'x'")
    assert told == labels("pool.id == 'x' || request.model == '' || request.n > request.n")
    assert len(told) == 3


def test_spellings_of_one_value_are_one_reference() -> None:
    assert len(labels("request.headers['A-b'] == request.headers[\"a-B\"]")) == 1
    assert len(labels("pools.local.queued == pools['local'].queued")) == 1


def test_the_literals_are_told_for_samples() -> None:
    names = read_names("request.model == 'a' && request.n in [7, 8] && b'no' == b'' && 1.5 > 1.0")
    assert names.texts == ("a",)
    assert names.numbers == (7, 8)


@pytest.mark.parametrize(
    "source",
    [
        "request.headers.exists(h, h == request.headers[h])",
        "size(request.headers) > 1 && 'a' in request.headers",
        "request.model in request.headers",
        "'a' + 'b' in request.headers",
    ],
)
def test_the_whole_map_is_built_only_where_nothing_smaller_answers(source: str) -> None:
    of = {reference.of for reference in read_names(source).references}
    assert "headers" in of
    assert "headers_in" not in of


def test_a_test_for_presence_needs_the_headers_it_names_alone() -> None:
    (asked,) = read_names("'X-B' in request.headers || !('a' in request.headers)").references
    assert (asked.of, asked.only) == ("headers_in", ("a", "x-b"))


@pytest.mark.parametrize(
    "source",
    [
        "'x-ab' in request.headers.map(h, h + 'b')",
        "'Yes' in request.headers.map(h, 'Yes')",
        "'x-a' in request.headers.filter(h, h != 'x-b')",
    ],
)
def test_what_is_made_of_the_headers_is_not_a_test_for_presence(source: str) -> None:
    """Lowered to the named header alone, these would be false for the headers given here."""
    names = read_names(source)
    context = cel.Context()
    context.add_variable("__headers", {"x-a": "1"})
    assert names.findings == ()
    assert cel.compile(names.lowered).execute(context) is True


@pytest.mark.req("INT-2")
@pytest.mark.parametrize(
    ("source", "column", "words"),
    [
        ("request.modle == ''", 9, "unknown field request.modle (did you mean 'model'?)"),
        ("model == ''", 1, "unknown name 'model' (did you mean 'request.model'?)"),
        ("queued > 1", 1, "unknown name 'queued' (did you mean 'pool.queued'?)"),
        ("pools['lokal'].queued > 1", 7, "unknown pool 'lokal' (did you mean 'local'?)"),
        ("pools[request.model].queued > 1", 1, 'pools needs one pool\'s id in quotes (write pools["local"].queued)'),
        ("size(pools) > 1", 6, 'pools needs one pool\'s id in quotes (write pools["local"].queued)'),
        ("request['model'] == ''", 1, "request is not a value by itself (write request.model, for example)"),
        ("pool == 1", 1, "pool is not a value by itself (write pool.id, for example)"),
        ("pools['local'] == 1", 14, 'pools["local"] is not a value by itself (write pools["local"].inflight, for example)'),
        ("request.model() == ''", 9, "unknown field request.model"),
        ("size2([]) > 0", 1, "unknown function 'size2' (did you mean 'size'?)"),
        ("contains('a', 'b')", 1, "unknown function 'contains' (write x.contains(...))"),
        ("'a'.contain('b')", 5, "unknown function 'contain' (did you mean 'contains'?)"),
        ("has(request.model)", 1, 'has() is not needed: every name has a value (for a header: "x-team" in request.headers)'),
        ("[1].map(pool, 1) == [1]", 9, "'pool' cannot be a variable here (choose another)"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_told_with_the_remedy(source: str, column: int, words: str) -> None:
    (found,) = read_names(source, POOLS).findings
    assert (found.line, found.column) == (1, column)
    told = f"{found.message} ({found.hint})" if found.hint else found.message
    assert told.startswith(words)


def test_pools_are_unchecked_where_nobody_knows_them() -> None:
    assert read_names("pools['anything'].queued > 1", None).findings == ()


@pytest.mark.parametrize("macro", sorted(MACROS))
def test_a_variable_exists_inside_its_brackets_only(macro: str) -> None:
    assert read_names(f"[1].{macro}(v, v > 0)").findings == ()
    assert len(read_names(f"v == 1 || [1].{macro}(v, v > 0) || v == 2").findings) == 2
    assert len(read_names(f"[v].{macro}(v, true)").findings) == 1


@pytest.mark.req("SEC-5")
def test_comprehensions_do_not_nest_but_may_follow_each_other() -> None:
    assert read_names("[1].exists(a, a > 0) && [2].map(b, b).exists(c, c > 0)").findings == ()
    (found,) = read_names("[1].exists(a, [2].exists(b, a == b))").findings
    assert "comprehension" in found.message
    (found,) = read_names("[1].exists(a, ([[2]])[0].exists(b, a == b))").findings
    assert found.column == 26


# -- lowering changes nothing that can be observed --------------------------------------

HEADERS = st.dictionaries(st.sampled_from(["a", "x-b", "c"]), st.sampled_from(["", "1", "a"]))
ATOMS = st.sampled_from(
    [
        "'a' in request.headers",
        '"X-B" in request.headers',
        "'a' in (request.headers)",
        "request.model in ['a', '1']",
        "request.headers.exists(h, request.headers[h] == request.model)",
        "size(request.headers) > request.n",
        "'aa' in request.headers.map(h, h + h)",
        "pools['local'].queued >= request.n",
        "pools.local.queued < 1",
        "request.n == 1 // a comment, request.nothing\n",
        "('request.model' == request.model)",
    ]
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||", "=="]), inner).map(
            lambda parts: f"(({parts[0]}) {parts[1]} ({parts[2]}))"
        ),
        inner.map(lambda part: f"!({part})"),
    ),
    max_leaves=4,
)


def value_of(reference: Reference, root: dict[str, Any]) -> Any:
    """What `policies.context` would put in, from the maps that the unlowered source reads."""
    match reference.of:
        case "headers":
            return root["request"]["headers"]
        case "headers_in":
            return {n: v for n, v in root["request"]["headers"].items() if n in reference.only}
        case "pools":
            return root["pools"][reference.pool][reference.name]
        case _:
            return root[reference.of][reference.name]


def evaluate(names: Names, root: dict[str, Any]) -> Any:
    context = cel.Context()
    for reference in names.references:
        context.add_variable(reference.slot, value_of(reference, root))
    return cel.compile(names.lowered).execute(context)


@pytest.mark.req("INT-2")
@given(
    source=CONDITIONS,
    headers=HEADERS,
    model=st.sampled_from(["a", "1", "request.model"]),
    n=st.integers(0, 3),
)
def test_the_lowered_condition_gives_what_the_written_one_does(
    source: str, headers: dict[str, str], model: str, n: int
) -> None:
    root = {
        "request": {"headers": headers, "model": model, "n": n},
        "pools": {"local": {"queued": n // 2}},
    }
    plain = cel.Context()
    for name, value in root.items():
        plain.add_variable(name, value)
    names = read_names(source, POOLS)
    assert names.findings == ()
    # The one intended difference: header names are case-blind.
    written = source.replace('"X-B"', '"x-b"')
    assert evaluate(names, root) == cel.compile(written).execute(plain)
