"""Secrets: held so that they do not show, and taken out of text that is about to leave the process.

A `SecretValue` never shows itself; whoever needs the text calls `reveal` at the place of use. The
`Redactor` is the second line of defence, for text that the gateway did not write (a backend's error,
a library's exception). Nothing here reads files.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

from gateway.known_texts import KnownTexts

MASK = "***"
SHORTEST_REDACTED = 4
"""Secrets with fewer characters are left in text: taking every "a" out would hide nothing."""


class SecretValue:
    """A secret's text. `repr` and `str` show `***`; it cannot be encoded or pickled by accident."""

    __slots__ = ("_digest", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = _digest(text)

    def reveal(self) -> str:
        """The secret itself: for a header on its way out, and for nothing that is kept or shown."""
        return self._text

    def matches(self, candidate: bytes | str) -> bool:
        """Whether `candidate` is this secret. The time it takes says nothing about either of them:
        digests of one length are compared, by `hmac.compare_digest`."""
        return hmac.compare_digest(self._digest, _digest(candidate))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(self._digest, other._digest)

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return MASK

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


def _digest(text: bytes | str) -> bytes:
    # Header values may carry any bytes as lone surrogates; they must not match, nor fail.
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.sha256(raw).digest()


# Text may be JSON, or JSON in JSON: a line break is then `\n`, a quote `\"`, each after any number of
# backslashes. Every pattern matches these spellings too, and begins with letters rather than with an
# assertion: that is what makes a search cheap.
_SPACE = r"(?:\s|\\++(?:[fnrt]|u00[01][0-9a-f]))"
_WORD_BEGAN = r"(?:(?<=gsk|xai)|(?<!\w..)|(?<=\\[bfnrt]..)|(?<=\\u00[01][0-9a-f]..))"
"""After two letters: they began a word. No word ends in the longer ones."""
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (
        ("bearer", "basic"),
        re.compile(rf"((?ai:Bearer|Basic){_SPACE}+)[^\s\"',;]+"),
        rf"\g<1>{MASK}",
    ),
    (
        ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "hf-", "hf_", "xai-", "xai_"),
        re.compile(rf"(sk|pk|rk|hf|gsk|xai){_WORD_BEGAN}[-_][A-Za-z0-9_-]{{8,}}"),
        rf"\g<1>-{MASK}",
    ),
    (("://",), re.compile(r"(://)[^\s/?#@\"']+@"), rf"\g<1>{MASK}@"),
    (
        ("?", "&"),
        re.compile(r"([?&](?ai:api[-_]?key|key|access_token|token)=)[^&\s\"'#]+"),
        rf"\g<1>{MASK}",
    ),
)
"""Of each: texts of which it needs one, in lower case; the pattern; what is put in its place."""


class Redactor:
    """Takes known secrets, and what looks like one, out of text.

    Must stay true: JSON of which `redact` changes nothing holds no text of which it would. So a log line
    is searched once, as a whole.
    """

    def __init__(self, secrets: Iterable[SecretValue] = ()) -> None:
        texts = {secret.reveal() for secret in secrets}
        self._known = KnownTexts(text for text in texts if len(text) >= SHORTEST_REDACTED)

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by `***`. Never raises; takes linear time."""
        text = self._known.replaced(text, MASK)
        lower = text.lower()
        for marks, pattern, replacement in _PATTERNS:
            if not any(mark in lower for mark in marks):
                continue
            if pattern.search(text):  # `sub` reads its template even when there is nothing to do
                text = pattern.sub(replacement, text)
        return text
