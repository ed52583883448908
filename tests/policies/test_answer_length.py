"""How long answers without a limit are taken to become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.answer_length import START_TOKENS, AnswerLength

pytestmark = pytest.mark.req("ADM-6")


def test_it_comes_to_what_a_caller_usually_gets() -> None:
    length = AnswerLength()
    assert length.expected_tokens == START_TOKENS
    for _ in range(100):
        length.learn(2000, 2)
    assert 999 <= length.expected_tokens <= 1000


@given(answers=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 9))))
def test_it_stays_between_what_it_has_seen(answers: list[tuple[int, int]]) -> None:
    length = AnswerLength()
    for tokens, choices in answers:
        length.learn(tokens, choices)
    seen = [START_TOKENS, *(tokens / max(choices, 1) for tokens, choices in answers)]
    assert max(1, int(min(seen))) <= length.expected_tokens <= max(seen) + 1
