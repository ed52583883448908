"""Arguments in pieces become the object that they are."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gemini_arguments import MAX_ARGUMENTS_CHARS, Arguments, NoSuchPlace
from adapters.gemini_wire import PartialArg

pytestmark = pytest.mark.req("RUN-3", "SEC-5")


def piece(path: str, **value: Any) -> PartialArg:
    told = {"jsonPath": path, **value}
    return msgspec.json.decode(msgspec.json.encode(told), type=PartialArg)


def together(*pieces: PartialArg) -> Any:
    arguments = Arguments()
    for each in pieces:
        arguments.add(each)
    return json.loads(arguments.encoded())


def test_without_a_piece_it_is_empty() -> None:
    assert together() == {}


def test_texts_grow_and_other_values_stand() -> None:
    assert together(
        piece("$.city", stringValue="Zü", willContinue=True),
        piece("$.days", numberValue=2),
        piece("$.city", stringValue="rich"),
        piece("$.warm", boolValue=False),
        piece("$.wind", nullValue="NULL_VALUE"),
    ) == {"city": "Zürich", "days": 2, "warm": False, "wind": None}


def test_lists_and_objects_are_made_by_their_paths() -> None:
    assert together(
        piece("$.a[0].b", stringValue="x"),
        piece("$.a[0].c", numberValue=1.5),
        piece("$.a[1]", stringValue="y"),
        piece("$['odd. name'][\"q'\"]", stringValue="z"),
    ) == {"a": [{"b": "x", "c": 1.5}, "y"], "odd. name": {"q'": "z"}}


@pytest.mark.parametrize(
    "paths",
    [
        ["a"],
        ["$"],
        ["$[0]"],
        ["$.a["],
        ["$.a[1]"],
        ["$.a", "$.a.b"],
        ["$.a.b", "$.a"],
        ["$.a[0]", "$.a.b"],
        ["$" + ".a" * 65],
    ],
)
def test_a_piece_that_has_no_place_is_an_error(paths: list[str]) -> None:
    with pytest.raises(NoSuchPlace):
        together(*(piece(path, stringValue="x") for path in paths))


def test_arguments_without_end_are_an_error() -> None:
    big = piece("$.a", stringValue="x" * (MAX_ARGUMENTS_CHARS // 2))
    with pytest.raises(NoSuchPlace):
        together(big, big)


NAMES = st.text(alphabet="abc_é", min_size=1, max_size=3)
LEAVES = st.text(max_size=6)


@given(
    value=st.dictionaries(
        NAMES, st.one_of(LEAVES, st.lists(LEAVES, min_size=1, max_size=3)), max_size=4
    ),
    cut=st.integers(0, 6),
)
def test_any_object_comes_out_as_it_was_cut(value: dict[str, Any], cut: int) -> None:
    pieces = []
    for name, inner in value.items():
        leaves = (
            [(f"$.{name}", inner)]
            if isinstance(inner, str)
            else [(f"$.{name}[{i}]", leaf) for i, leaf in enumerate(inner)]
        )
        for path, leaf in leaves:
            pieces += [piece(path, stringValue=leaf[:cut]), piece(path, stringValue=leaf[cut:])]
    assert together(*pieces) == value


@given(path=st.text(alphabet="$.a[]0'\"\\", max_size=10))
def test_no_path_raises_anything_else(path: str) -> None:
    try:
        together(piece(path, stringValue="x"))
    except NoSuchPlace:
        return
