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
_KEY_BEGAN = "(?<=[kfi].)(?:(?<=[spr]k.)|(?<=hf.)|(?<=xai.))"
_PATTERNS = tuple(
    (
        tuple((char, re.compile(char + rest).search) for char, rest in marks),
        re.compile(pattern),
        replacement,
    )
    for marks, pattern, replacement in (
        (
            (("B", "(?ai:earer|asic)"), ("b", "(?ai:earer|asic)")),
            rf"((?ai:Bearer|Basic){_SPACE}+)[^\s\"',;]+",
            rf"\g<1>{MASK}",
        ),
        (
            (("-", _KEY_BEGAN), ("_", _KEY_BEGAN)),
            rf"(sk|pk|rk|hf|gsk|xai){_WORD_BEGAN}[-_][A-Za-z0-9_-]{{8,}}",
            rf"\g<1>-{MASK}",
        ),
        ((("@", ""),), r"(://)[^\s/?#@\"']+@", rf"\g<1>{MASK}@"),
        (
            (("=", "(?<=(?ai:key|ken)=)"),),
            r"([?&](?ai:api[-_]?key|key|access_token|token)=)[^&\s\"'#]+",
            rf"\g<1>{MASK}",
        ),
    )
)
"""Of each: what a text has one of if the pattern finds anything, as a character and a search that begins with it; the
pattern; what is put in place of what it finds. A search that begins with one certain character is ten times as quick."""


class Redactor:
    """Takes known secrets, and what looks like one, out of text.

    Must stay true: JSON of which `redact` changes nothing holds no text of which it would, nor do texts that
    line breaks join. So a log line is searched once, as a whole, and so is a record.
    """

    def __init__(self, secrets: Iterable[SecretValue] = ()) -> None:
        texts = {secret.reveal() for secret in secrets}
        self._known = KnownTexts(text for text in texts if len(text) >= SHORTEST_REDACTED)

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by `***`. Never raises; takes linear time."""
        text = self._known.replaced(text, MASK)
        for marks, pattern, replacement in _PATTERNS:
            for char, search in marks:
                if char in text and search(text):
                    text = pattern.sub(replacement, text)
                    break
        return text
