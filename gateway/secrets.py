"""Secrets: held so that they do not show, and taken out of text that is about to leave the process.

A `SecretValue` never shows itself; whoever needs the text calls `reveal` at the place of use. The
`Redactor` is the second line of defence, for text that the gateway did not write (a backend's error,
a library's exception). Nothing here reads files.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

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


_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b((?:Bearer|Basic)\s+)[^\s\"',;]+", re.IGNORECASE), rf"\g<1>{MASK}"),
    (re.compile(r"\b(sk|pk|rk|hf|gsk|xai)[-_][A-Za-z0-9_-]{8,}"), rf"\g<1>-{MASK}"),
    (re.compile(r"(://)[^\s/?#@\"']+@"), rf"\g<1>{MASK}@"),
    (
        re.compile(r"([?&](?:api[-_]?key|key|access_token|token)=)[^&\s\"'#]+", re.IGNORECASE),
        rf"\g<1>{MASK}",
    ),
)


class Redactor:
    """Takes known secrets, and what looks like one, out of text."""

    def __init__(self, secrets: Iterable[SecretValue] = ()) -> None:
        spellings = {
            spelling
            for secret in secrets
            for spelling in _spellings(secret.reveal())
            if len(spelling) >= SHORTEST_REDACTED
        }
        # Longest first, so that a secret which begins another one does not leave its rest behind.
        ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by `***`. Never raises; takes linear time."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def _spellings(secret: str) -> tuple[str, ...]:
    """A secret as it stands in plain text, inside a JSON string, and inside a URL."""
    return (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe="", errors="replace"),
    )
