"""`${NAME}` in values: what is put in, what is not looked at again, and what no message tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.interpolation import expand, hide
from contracts.yaml_nodes import Mapping, Scalar, compose

pytestmark = pytest.mark.req("SEC-4")
ENV = {"HOST": "db", "EMPTY": "", "TRICK": "${HOST} $${ ${"}
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["${A}", "$${", "$"])
ENVIRONMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
PIECES = st.sampled_from(["$", "$$", "${", "$${", "{", "}", "${A}", "${A:-x}", "${A:-", ":-", "A"])
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://${HOST}:1/${HOST}", "http://db:1/db"),
        ("${GONE:-here}", "here"),
        ("${EMPTY:-here}", "here"),  # as in a shell
        ("${EMPTY}", ""),
        ("${HOST:-}", "db"),
        ("${GONE:-}", ""),
        ("${GONE:-a:-b}", "a:-b"),
        ("$HOST $$ {HOST} $(HOST)", "$HOST $$ {HOST} $(HOST)"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("${TRICK}", ENV["TRICK"]),
    ],
)
def test_a_reference_is_replaced_as_a_shell_would(written: str, meant: str) -> None:
    expansion = expand(written, ENV)
    assert (expansion.text, expansion.faults) == (meant, ())


@pytest.mark.parametrize("written", ["${}", "${1A}", "${A-b}", "${A:-b{c}}", "${A", "${", "${A b}"])
def test_what_looks_like_a_reference_and_is_none_is_a_fault(written: str) -> None:
    expansion = expand(written, {"A": "held"})
    ((message, hint),) = expansion.faults
    assert "neither" in message
    assert "$${" in hint
    assert "held" not in expansion.text


def test_every_fault_is_told_and_a_missing_variable_by_its_name() -> None:
    expansion = expand("${ONE} ${HOST} ${TWO}", ENV)
    assert [message for message, _ in expansion.faults] == [
        "the environment variable ONE is not set",
        "the environment variable TWO is not set",
    ]
    assert "${ONE:-default}" in expansion.faults[0][1]


@given(text=TEXTS, env=ENVIRONMENTS)
def test_a_text_with_its_references_escaped_means_itself(text: str, env: dict[str, str]) -> None:
    expansion = expand(text.replace("${", "$${"), env)
    assert (expansion.text, expansion.replaced, expansion.faults) == (text, False, ())


@given(before=TEXTS, name=NAMES, value=VALUES, after=TEXTS)
def test_what_is_put_in_is_never_searched_again(
    before: str, name: str, value: str, after: str
) -> None:
    before, after = before.replace("$", ""), after.replace("$", "")
    expansion = expand(f"{before}${{{name}}}{after}", {"A": "searched again", name: value})
    assert expansion.text == before + value + after
    assert expansion.replaced


@pytest.mark.req("SEC-3")
@given(text=TEXTS, names=st.sets(NAMES, max_size=3))
def test_no_message_tells_a_value_or_the_text_around(text: str, names: set[str]) -> None:
    secret = "\u2603secret"
    env = dict.fromkeys(names, secret)
    surrounded = f"{secret}{text}${{MISSING_ONE}}${{{secret}}}{secret}"
    for message, hint in expand(surrounded, env).faults:
        assert secret not in message + hint


@given(text=st.text(), env=ENVIRONMENTS)
def test_replaced_tells_whether_anything_came_from_outside(text: str, env: dict[str, str]) -> None:
    expansion = expand(text, env)
    if not expansion.replaced and not expansion.faults:
        assert expansion == expand(text, {})


# -- hide -----------------------------------------------------------------------------------


def scalars(text: str) -> list[str]:
    """The values of a flat mapping, read with its references hidden."""
    hidden, restore = hide(text)
    assert len(hidden) == len(text)
    composed = compose(hidden, file="f", restore=restore)
    assert composed.problems == ()
    assert isinstance(composed.root, Mapping)
    return [value.text for _, value in composed.root.pairs if isinstance(value, Scalar)]


def test_a_hidden_reference_may_stand_where_its_braces_could_not() -> None:
    written = "${A:-x: [y], {z} #'\"}".replace("{z}", "z")
    assert scalars(f"{{a: {written}, b: '{written}'}}") == [written, written]


@pytest.mark.parametrize("escape", [r"\ue000", r"\uE00a", r"\U0000e001", r"\ue000\ue001\ue002"])
def test_an_escaped_character_is_not_taken_for_a_hidden_one(escape: str) -> None:
    meant = escape.encode().decode("unicode_escape")
    assert scalars(f'a: ${{X}}\nb: "{escape}"') == ["${X}", meant]


@given(own=st.text(st.characters(min_codepoint=0xE000, max_codepoint=0xE0FF), max_size=40))
def test_a_texts_own_private_characters_stay_as_they_are(own: str) -> None:
    assert scalars(f"a: ${{X:-{own} }}\nb: '{own}'") == [f"${{X:-{own} }}", own]


def test_a_text_that_leaves_no_character_free_is_left_alone() -> None:
    crowded = "${A}" + "".join(map(chr, range(0xE000, 0xF900)))
    assert hide(crowded)[0] == crowded
