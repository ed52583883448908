"""Texts that were searched: what is said of them is what a search says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records import clean_texts
from gateway.records.clean_texts import KEPT_CHARS, CleanTexts
from gateway.records.storable import storable_text
from gateway.secrets import Redactor, SecretValue

REDACT = Redactor([SecretValue("hunter22"), SecretValue('a "b\nc')]).redact
PIECES = [
    "hunter",
    "22",
    "hunter22",
    "Bearer",
    "Bearer ",
    "token=",
    "?",
    "sk-",
    "12345678",
    "\n",
    '"',
    "\0",
    "\udcff",
    "é",
]
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=5)


@pytest.mark.req("SEC-3")
@given(st.lists(TEXTS, max_size=6))
def test_what_is_called_clean_is_what_may_be_stored_as_it_is(
    records: list[list[str]],
) -> None:
    texts = CleanTexts(REDACT)
    for record in records:
        if texts.are_clean(record):
            assert [storable_text(text, REDACT) for text in record] == record


@pytest.mark.req("OPS-4")
def test_a_text_that_comes_again_is_not_searched_again() -> None:
    searched: list[str] = []

    def redact(text: str) -> str:
        searched.append(text)
        return REDACT(text)

    texts = CleanTexts(redact)
    assert texts.are_clean(["one", "two"])
    assert texts.are_clean(["two", "three", "one"])
    assert [set(text.split("\n")) for text in searched] == [{"one", "two"}, {"three"}]
    assert not texts.are_clean(["one", "hunter22"])
    assert not texts.are_clean(["one", "hunter22"])


@pytest.mark.req("SEC-5")
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_texts, "KEPT", 10)
    texts = CleanTexts(str)
    for number in range(100):
        texts.are_clean([f"{number}", f"and {number}"])
        texts.are_clean(["x" * KEPT_CHARS, "x" * (KEPT_CHARS + number + 1)])
        assert len(texts._known) <= 10
        assert max(map(len, texts._known)) == KEPT_CHARS
