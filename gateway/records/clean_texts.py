"""Texts that may be stored as they are, so that they need not be searched for secrets again.

Most of what a record quotes comes again with the next one, word for word: a client's headers, an engine's
version. Must stay true: what is said of a text is what a search of it would say, and what is remembered is
bounded.
"""

from gateway.records.storable import Redact, storable_text

KEPT = 16_384
"""Ten thousand may be names of callers."""
KEPT_CHARS = 256
"""Of one text. A longer one hardly comes again."""


class CleanTexts:
    """May be asked on any thread."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._known: set[str] = set()

    def are_clean(self, texts: list[str]) -> bool:
        """True: each of them is storable as it is. False: perhaps not."""
        known = self._known
        if known.issuperset(texts):
            return True
        new = set(texts) - known
        together = "\n".join(new)  # see `Redactor`
        if storable_text(together, self._redact) != together:
            return False
        if len(known) + len(new) > KEPT:
            known = self._known = set()
        known.update(text for text in new if len(text) <= KEPT_CHARS)
        return True
