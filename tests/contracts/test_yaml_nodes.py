"""YAML to nodes: the same tree as PyYAML reads, its places, its bounds; and what a plain scalar means."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts import yaml_nodes
from contracts.yaml_nodes import (
    MAX_CHARS,
    MAX_DEPTH,
    MAX_NODES,
    Composed,
    Mapping,
    Node,
    Scalar,
    Sequence,
    compose,
    plain_value,
)

pytestmark = pytest.mark.req("SEC-4")


@pytest.fixture(params=["libyaml", "python"])
def _both_parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may come without libyaml; nothing but the time differs."""
    if request.param == "python":
        monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.SafeLoader)


def read(text: str) -> Composed:
    return compose(text, file="f")


def root_of(text: str) -> Node:
    composed = read(text)
    assert composed.problems == ()
    assert composed.root is not None
    return composed.root


def told(text: str) -> list[str]:
    return [str(problem) for problem in read(text).problems]


def texts(node: Node) -> Any:
    """The tree as lists, dicts and the scalars' own texts."""
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return [texts(item) for item in node.items]
        case Mapping():
            return {key.text: texts(value) for key, value in node.pairs}


def children(node: Node) -> list[Node]:
    match node:
        case Scalar():
            return []
        case Sequence():
            return list(node.items)
        case Mapping():
            return [part for pair in node.pairs for part in pair]


# -- the tree -------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)
TREES = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(tree=TREES, flow=st.sampled_from([True, False, None]))
def test_the_tree_is_the_one_that_was_written(tree: object, flow: bool | None) -> None:
    written = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    assume(yaml.load(written, Loader=yaml.BaseLoader) == tree)
    assert texts(root_of(written)) == tree


@given(tree=TREES, flow=st.booleans())
def test_each_node_knows_its_size_its_depth_and_its_place(tree: object, flow: bool) -> None:
    written = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    lines = written.split("\n")

    def check(node: Node) -> tuple[int, int]:
        below = [check(child) for child in children(node)]
        size = 1 + sum(size for size, _ in below)
        depth = 1 + max((depth for _, depth in below), default=0)
        assert (node.size, node.depth) == (size, depth)
        assert 1 <= node.position.line <= len(lines)
        assert 1 <= node.position.column <= len(lines[node.position.line - 1]) + 1
        return size, depth

    check(root_of(written))


@pytest.mark.usefixtures("_both_parsers")
def test_a_place_is_where_the_value_begins() -> None:
    root = root_of('rules:\n  - name: "a"\n    then: {model: b}\n')
    assert isinstance(root, Mapping)
    ((_, rules),) = root.pairs
    assert isinstance(rules, Sequence)
    assert isinstance(rules.items[0], Mapping)
    (_, name), (then, shape) = rules.items[0].pairs
    places = [str(node.position) for node in (rules, name, then, shape)]
    assert places == ["f:2:3", "f:2:11", "f:3:5", "f:3:11"]


@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    ("written", "plain"),
    [("12", True), ("'12'", False), ('"12"', False), ("!!str 12", False), ("|\n  12", False)],
)
def test_only_an_unmarked_scalar_may_mean_more_than_its_text(written: str, plain: bool) -> None:
    node = root_of(written)
    assert isinstance(node, Scalar)
    assert (node.text, node.plain) == ("12", plain)


@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize("text", ["", "# only words\n", "---\n", "\ufeff", "--- # nothing\n...\n"])
def test_an_empty_document_is_no_problem(text: str) -> None:
    composed = read(text)
    assert composed.problems == ()
    assert composed.root is None or texts(composed.root) == ""


@pytest.mark.usefixtures("_both_parsers")
def test_repeated_keys_are_kept_for_whoever_reads_them() -> None:
    root = root_of("a: 1\na: 2\n")
    assert isinstance(root, Mapping)
    assert [key.text for key, _ in root.pairs] == ["a", "a"]


# -- what is not wanted ---------------------------------------------------------------------


@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !!python/object:os.system x", "f:1:4: tags (!...) are not supported"),
        ("a: !!map {}", "f:1:4: tags (!...) are not supported"),
        ("a: {<<: b}", "f:1:5: merge keys (<<) are not supported"),
        ("[a]: b", "f:1:1: a key must be text"),
        ("a: *b", "f:1:4: an alias (*) of no anchor"),
        ("a: &a [*a]", "f:1:8: an alias (*) of no anchor"),  # a cycle
        ("a: 1\n---\nb: 2", "f:2:1: a second document"),
        ("a: b\x07", "f:1:5: the character U+0007 may not stand in YAML"),
        ('a: "\\ud800"', "escape"),
        ("a: [1", "this is not YAML"),
    ],
)
def test_what_configuration_does_not_need_is_refused_at_its_place(text: str, problem: str) -> None:
    assert problem in "\n".join(told(text))


@pytest.mark.usefixtures("_both_parsers")
def test_what_is_only_unwanted_does_not_end_the_reading() -> None:
    problems = told("a: !x 1\nb: {<<: c}\n? [d]\n: e\nf: !y 2\n")
    places = {problem.split(": ")[0] for problem in problems}
    assert places == {"f:1:4", "f:2:5", "f:3:3", "f:5:4"}


@pytest.mark.req("SEC-3")
@pytest.mark.usefixtures("_both_parsers")
@pytest.mark.parametrize(
    "text", ["token: %sk-secret", "a: *sk-secret", "a: &sk-secret &sk-secret b", "a: !sk-secret! b"]
)
def test_a_syntax_error_does_not_quote_the_file(text: str) -> None:
    problems = told(text)
    assert problems
    assert "sk-secret" not in "\n".join(problems)


# -- bounds ---------------------------------------------------------------------------------


@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize(
    ("write", "limit", "word"),
    [
        (lambda size: "#" * size, MAX_CHARS, "characters"),
        (lambda depth: "[" * (depth - 1) + "a" + "]" * (depth - 1), MAX_DEPTH, "deep"),
        (lambda depth: "[" * depth + "]" * depth, MAX_DEPTH - 1, "deep"),
        (lambda nodes: "[" + "a," * (nodes - 1) + "]", MAX_NODES, "values"),
    ],
    ids=["text", "scalar depth", "list depth", "nodes"],
)
def test_a_document_has_bounds_and_may_reach_them(
    write: Any, limit: int, word: str, over: int
) -> None:
    problems = told(write(limit + over))
    if over:
        (problem,) = problems
        assert word in problem
    else:
        assert problems == []


@pytest.mark.req("SEC-5")
def test_what_an_alias_repeats_counts_as_if_it_were_written_out() -> None:
    once = "[&a [1,2,3,4,5,6,7,8,9]"  # eleven nodes, and ten more for each alias
    room = (MAX_NODES - 11) // 10
    assert told(once + ",*a" * room + "]") == []
    assert "values" in told(once + ",*a" * (room + 1) + "]")[0]


@given(text=st.text() | st.text("[]{}:,-&*a!<>|'\"\\%@\n\t #?u0e8", max_size=30))
def test_any_text_is_a_bounded_tree_or_problems(text: str) -> None:
    composed = read(text)
    if composed.root is not None:
        assert composed.root.depth <= MAX_DEPTH
        assert composed.root.size <= MAX_NODES
    for problem in composed.problems:
        assert problem.position.file == "f"


# -- plain scalars --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("true", True),
        ("FALSE", False),
        ("12", 12),
        ("-0", 0),
        ("007", 7),
        ("0o17", 15),
        ("0xFf", 255),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-9223372036854775808", -(2**63)),
        # YAML 1.1 would have made something of these.
        *((word, word) for word in ("on", "off", "yes", "no", "y", "22:22", "1_000", "2026-01-01")),
        *((word, word) for word in ("nULL", "tRUE", "0b1", "-0x1", "0x", "1e", ".", "+", "1.2.3")),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    found = plain_value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "1" * 5000, "1e999", "-1e999", ".inf", "-.INF", ".nan", ".NaN"]
)
def test_a_number_that_json_could_not_carry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        plain_value(text)


@given(number=st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_written(number: float) -> None:
    found = plain_value(repr(number))
    assert found == number
    assert type(found) is type(number)


@given(text=st.text() | st.from_regex(r"[-+.0-9eExXoOaf]{0,12}", fullmatch=True))
def test_any_scalar_is_a_finite_value_or_a_value_error(text: str) -> None:
    try:
        value = plain_value(text)
    except ValueError:
        return
    if isinstance(value, str):
        assert value == text
    elif value is not None:
        assert math.isfinite(value)
