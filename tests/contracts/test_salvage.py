"""What can still be used of a document that has problems: the rest of it, each part at its place."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.config import Config
from contracts.policy import PolicyFile, Rung, Then
from contracts.salvage import salvage
from contracts.yaml_document import MAX_PROBLEMS, Reading, read


def reading_of(text: str) -> Reading[PolicyFile]:
    return read(text, PolicyFile, file="f")


def salvaged(text: str) -> PolicyFile:
    found = salvage(reading_of(text), PolicyFile)
    assert found is not None
    return found


def test_a_document_without_problems_is_its_own_value() -> None:
    reading = reading_of("rules: [{name: a, then: {priority: 1}}]")
    assert salvage(reading, PolicyFile) is reading.value
    assert reading.damaged == frozenset()


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "5", "\n".join(f"field{n}: 1" for n in range(MAX_PROBLEMS + 5))],
    ids=["no YAML", "a list", "a number", "too many problems"],
)
def test_of_some_documents_nothing_is_left(text: str) -> None:
    reading = reading_of(text)
    assert salvage(reading, PolicyFile) is None
    assert not reading.intact(("rules",))


def test_a_wrong_field_is_as_if_it_were_not_given() -> None:
    (rule,) = salvaged("rules: [{name: a, when: 5, x: 1, then: {priority: hi, pool: p}}]").rules
    assert (rule.name, rule.when, rule.then) == ("a", None, Then(pool="p"))


def test_a_part_that_must_be_there_is_stood_in_for() -> None:
    first, second, third = salvaged("rules: [{when: x}, 5, {name: c, then: []}]").rules
    assert (first.name, first.when, first.then) == ("", "x", Then())
    assert (second.name, second.when) == ("", None)
    assert (third.name, third.then) == ("c", Then())


def test_a_list_is_cut_and_never_closed_up() -> None:
    (intent,) = salvaged(
        "intents: [{name: a, ladder: [shed, nope, order], match: {key: [k, {}, l], header: {a: b, c: 5}}}]"
    ).intents
    assert intent.ladder == [Rung("shed")]
    assert intent.match.key == ["k"]
    assert intent.match.header == {"a": "b"}


def test_what_cannot_be_stood_in_for_takes_along_what_encloses_it() -> None:
    text = "models: [{name: a, pool: p, price: {input: 1}}, {name: b, pool: p}]"
    config = salvage(read(text, Config, file="f"), Config)
    assert config is not None
    assert [(model.name, model.price) for model in config.models] == [("a", None), ("b", None)]


def test_a_word_of_a_closed_set_is_stood_in_for_so_that_the_list_goes_on() -> None:
    text = "pools: [{id: a, engine: openai}, {id: b}, {id: c, engine: opnai}]"
    config = salvage(read(text, Config, file="f"), Config)
    assert config is not None
    assert [pool.id for pool in config.pools] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("path", "intact"),
    [
        (("rules", 0, "when"), True),
        (("rules", 0, "then", "model"), True),
        (("rules", 0, "then", "priority"), False),
        (("rules", 0, "then"), False),
        (("rules", 0), False),
        (("rules",), False),
        (("rules", 1, "then"), False),
        (("rules", 1, "then", "model"), False),
        (("rules", 1, "name"), True),
        (("rules", 2, "name"), True),
        (("intents",), True),
        ((), False),
    ],
)
def test_intact_is_what_has_nothing_wrong_above_at_or_within(
    path: tuple[str | int, ...], intact: bool
) -> None:
    reading = reading_of(
        "rules: [{name: a, when: x, then: {priority: hi, model: m}}, {name: b}, {name: c, x: 1, then: {}}]"
    )
    assert reading.intact(path) is intact


WORDS = "intents rules name when then match header key model priority ladder shed 5 a ~ true"
WORD = st.sampled_from(WORDS.split())
TREES = st.recursive(
    WORD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda xs: "[" + ", ".join(xs) + "]"),
        st.lists(st.tuples(WORD, inner), max_size=4).map(
            lambda ps: "{" + ", ".join(f"{k}: {v}" for k, v in ps) + "}"
        ),
    ),
    max_leaves=16,
)


def parts(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every part of a value with its path."""
    below: list[tuple[str | int, Any]] = []
    if isinstance(value, msgspec.Struct) and not isinstance(value, Rung):
        below = [(name, getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [(path, value), *(p for key, child in below for p in parts(child, (*path, key)))]


@pytest.mark.req("SEC-4")
@given(rules=TREES, intents=TREES)
def test_whatever_is_salvaged_stands_where_the_text_has_it(rules: str, intents: str) -> None:
    reading = reading_of(f"rules: [{rules}]\nintents: [{intents}]")
    found = salvage(reading, PolicyFile)
    assert (reading.value is None) == bool(reading.problems) == bool(reading.damaged)
    if found is None:
        return
    for path, value in parts(found):
        if isinstance(value, str) and value and reading.intact(path) and path in reading.positions:
            place = reading.positions[path]
            line = f"rules: [{rules}]\nintents: [{intents}]".split("\n")[place.line - 1]
            assert line[place.column - 1 :].startswith(value)
