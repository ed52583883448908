"""Many known texts are found as each by itself would be, in any text."""

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.known_texts import LONG_ENOUGH, STRIDE, KnownTexts

pytestmark = pytest.mark.req("SEC-3")
WORDS = st.text("ab-_", min_size=1, max_size=3 * LONG_ENOUGH)


class OneByOne(KnownTexts):
    """What the pieces are to be equal to."""

    FEW = 10**9


class ByPieces(KnownTexts):
    FEW = 0


@given(known=st.lists(WORDS, max_size=12), around=st.lists(WORDS, max_size=4), data=st.data())
def test_what_is_found_by_pieces_is_what_is_found_one_by_one(
    known: list[str], around: list[str], data: st.DataObject
) -> None:
    hidden = data.draw(st.lists(st.sampled_from(known), max_size=3)) if known else []
    text = "".join(data.draw(st.permutations([*around, *hidden])))
    assert ByPieces(known).replaced(text, "*") == OneByOne(known).replaced(text, "*")


@pytest.mark.parametrize("at", range(2 * STRIDE))
@pytest.mark.parametrize("length", [STRIDE, LONG_ENOUGH - 1, LONG_ENOUGH, LONG_ENOUGH + 1, 40])
def test_a_text_is_found_wherever_it_stands(at: int, length: int) -> None:
    token = ("0123456789abcdefghijklmnopqrstuvwxyz-_.~" * 2)[:length]
    assert ByPieces([token]).replaced("#" * at + token + "#", "*") == "#" * at + "*#"


@pytest.mark.parametrize("known", [[], ['a"secret\\with "quotes" and-a-long-enough-part-of-it']])
def test_a_text_is_found_in_json_and_one_that_is_not_there_changes_nothing(
    known: Sequence[str],
) -> None:
    texts = ByPieces(known)
    for secret in known:
        assert secret not in texts.replaced(json.dumps({"a": secret}), "*")
        assert "*" in texts.replaced(json.dumps({"a": secret}), "*")
    assert texts.replaced("nothing of it", "*") == "nothing of it"


def test_ten_thousand_are_searched_for_in_as_many_steps_as_one() -> None:
    """Counted, not timed: how many pieces of the text are looked up."""

    class Counting(set[str]):
        asked = 0

        def isdisjoint(self, pieces: Iterable[object], /) -> bool:
            cut = list(pieces)
            Counting.asked += len(cut)
            return super().isdisjoint(cut)

    line = "x" * 600
    for many in (100, 10_000):
        texts = KnownTexts(f"sk-{n:05}-{'abcdefghij' * 3}" for n in range(many))
        texts._pieces, Counting.asked = Counting(texts._pieces), 0
        assert texts.replaced(line, "*") == line
        assert not texts._alone
        assert Counting.asked == len(line) / STRIDE
