"""Tokens: the texts join to the source again, and words inside texts and comments stay there."""

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cel_tokens import tokenize


def seen(source: str) -> list[tuple[str, str]]:
    """Kind and text of everything but space."""
    return [(token.kind, token.text) for token in tokenize(source) if token.kind != "space"]


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("request.model", "name mark name"),
        ("a//b\n&& c // d", "name mark mark name"),
        ('"a // b" + c', "string mark name"),
        ("'it\\'s' in x", "string name name"),
        ("'''a'b\n''' + \"\"\"c\"d\"\"\"", "string mark string"),
        ('r"\\d" + b"x" + rb"y" + bR\'z\'', "string mark string mark string mark string"),
        ("bar + rx", "name mark name"),
        ("1 + 2.5e-3 - 0xFFu", "number mark number mark number"),
        ("1.size() + .5", "number mark name mark mark mark number"),
        ("a1_b", "name"),
        ("'open", "mark name"),
    ],
)
def test_a_source_has_these_kinds_of_tokens(source: str, kinds: str) -> None:
    assert " ".join(kind for kind, _ in seen(source)) == kinds


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('"a\\tb\\u00e9"', "a\tbé"),
        ("'\\''", "'"),
        (r'r"\d"', r"\d"),
        ('"""a"b"""', 'a"b'),
        ('b"x"', None),
        ("name", None),
        ("5", None),
    ],
)
def test_a_literal_is_what_cel_says_it_is(source: str, text: str | None) -> None:
    (token,) = tokenize(source)
    assert token.literal() == text


def test_an_operand_ends_where_a_field_may_follow() -> None:
    ends = {token.text for token in tokenize("a + ('b')[1].c ? {}") if token.ends_operand}
    assert ends == {"a", "'b'", ")", "1", "]", "c", "}"}


@given(source=st.text(max_size=60))
def test_no_character_is_lost_whatever_the_text(source: str) -> None:
    tokens = tokenize(source)
    assert "".join(token.text for token in tokens) == source
    assert [source[t.offset : t.offset + len(t.text)] for t in tokens] == [t.text for t in tokens]


ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r"}
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@pytest.mark.req("INT-2")
@given(text=st.one_of(TEXTS, st.text(st.sampled_from("\"'\\\n// a"), max_size=8)))
def test_a_text_is_one_token_whatever_is_in_it(text: str) -> None:
    """What the tokenizer takes for one text is what CEL takes for one."""
    written = '"' + "".join(ESCAPED.get(character, character) for character in text) + '"'
    source = f"{written} == {written} && true"
    assert seen(source)[0] == ("string", written)
    assert tokenize(source)[0].literal() == text
    assert cel.compile(source).execute() is True
