"""Counts that are told again and again."""

import msgspec
import pytest

from adapters.cumulative_usage import merged

pytestmark = pytest.mark.req("RUN-3")


class Piece(msgspec.Struct):
    prompt: int | None = None
    answer: int | None = None


def test_what_is_told_later_stands_and_what_is_not_told_stays() -> None:
    before = Piece(prompt=5, answer=1)
    assert merged(before, Piece(answer=0)) == Piece(prompt=5, answer=0)
    assert merged(Piece(), Piece()) == Piece()
    assert before == Piece(prompt=5, answer=1)
