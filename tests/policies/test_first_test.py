"""What the first test of a condition says is what CEL says of the whole."""

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.conditions import compile_condition
from policies.first_test import FirstTest, first_test
from policies.vocabulary import sample

pytestmark = pytest.mark.req("INT-2")

FIELDS = ("intent", "model", "priority", "max_tokens", "prompt_tokens")
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
SMALL = st.integers(0, 3)
WORD = st.sampled_from(["", "a", "b", "A", "a b", "é"])


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    field = draw(st.sampled_from(FIELDS))
    literal = f'"{draw(WORD)}"' if field in ("intent", "model") else str(draw(SMALL))
    space = draw(st.sampled_from(["", " ", "\n"]))
    return f"request.{field}{space}{draw(SIGNS)}{space}{literal}"


ERRS = st.sampled_from(["1 / request.max_tokens == 1", "int(request.model) == 1", "true", "false"])
PARTS = st.one_of(comparisons(), ERRS)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """Comparisons and what cannot always be evaluated, joined by anything that binds otherwise."""
    source = draw(comparisons())
    for part in draw(st.lists(PARTS, max_size=3)):
        shape = draw(
            st.sampled_from(["{} && {}", "{} || {}", "({}) && {}", "!({}) && {}", "{} ? {} : true"])
        )
        source = shape.format(source, part)
    return source


@given(
    source=conditions(),
    numbers=st.lists(SMALL, min_size=3, max_size=3),
    words=st.tuples(WORD, WORD),
)
def test_where_the_first_test_fails_the_whole_is_false(source, numbers, words):
    condition = compile_condition(source)
    values = dict(zip(FIELDS, (*words, *numbers), strict=True))
    if condition.first is None or not condition.first.fails(values[condition.first.reference.name]):
        return
    context = cel.Context()
    for reference in condition.references:
        context.add_variable(reference.slot, values[reference.name])
    assert condition.holds(context) is False


def test_the_first_test_of_an_and_is_found():
    condition = compile_condition('request.intent == "batch" && pool.queued > 4', frozenset({"p"}))
    assert condition.first is not None
    assert (condition.first.comparison, condition.first.literal) == ("==", "batch")
    assert condition.first.fails("interactive")
    assert not condition.first.fails("batch")


def test_the_first_test_may_be_of_a_header():
    first = compile_condition('request.headers["X-Team"] == "a" && request.n > 1').first
    assert first is None, "as it is written it is no header's name in lower case"
    first = compile_condition('request.headers["x-team"] == "a" && request.n > 1').first
    assert first is not None
    assert (first.reference.of, first.reference.name) == ("header", "x-team")
    assert first.fails("")


@pytest.mark.parametrize(
    "source",
    [
        'request.intent == "a" || request.model == "b"',
        'request.intent == "a" && request.model == "b" || request.model == "c"',
        'request.intent == "a" ? true : request.model == "c"',
        '(request.intent == "a")',
        "request.max_tokens + 1 == 2",
        "request.max_tokens == 1 + 1",
        'request.intent == "a" + "b"',
        '"a" == request.intent',
        'request.intent == r"a"',
        r'request.intent == "a\"b"',
        'request.intent == """a"""',
        'request.headers["x"].contains("a")',
        '"x" in request.headers',
        "request.stream == true",
        "pool.queued > 4",
    ],
)
def test_what_is_not_told_so_simply_has_none(source):
    assert compile_condition(source).first is None


def test_a_value_of_another_type_or_beyond_ascii_tells_nothing():
    condition = compile_condition('request.intent == "a"')
    assert condition.first is not None
    for value in (1, True, None, sample("map", "", 0, False), "\u00e9", "a\udc80"):
        assert not condition.first.fails(value)
    assert not isinstance(first_test("request.nothing == 1", condition.references), FirstTest)
