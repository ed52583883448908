"""How long an answer may become that nobody gave a limit: what is reserved for it before it is known.

A moving mean of one caller's own answers, per choice. No clock, and no upper bound: a guess that was too
short becomes a debt (`policies.budget`).
"""

import math

START_TOKENS = 256.0
"""Before anything is known of a caller: an ordinary chat answer."""
WEIGHT = 1 / 8


class AnswerLength:
    """Learns from what was answered."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = START_TOKENS

    @property
    def expected_tokens(self) -> int:
        """Of one choice; at least 1."""
        return max(1, math.ceil(self._tokens))

    def learn(self, tokens: int, choices: int) -> None:
        """An answer of `choices` choices had so many tokens in all."""
        self._tokens += WEIGHT * ((tokens / choices if choices > 1 else tokens) - self._tokens)
