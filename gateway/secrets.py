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
        texts = {text for text in texts if len(text) >= SHORTEST_REDACTED}
        # Longest first, so that a secret which begins another one does not leave its rest behind.
        ordered = sorted(texts, key=lambda text: (-len(text), text))
        self._known = re.compile("|".join(map(_any_spelling, ordered)))
        self._anchors = tuple({_anchor(text) for text in ordered})

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by `***`. Never raises; takes linear time."""
        # Looking for plain text first: a long alternation costs more than all the rest.
        for anchor in self._anchors:
            if anchor in text:
                text = self._known.sub(MASK, text)
                break
        lower = text.lower()
        for marks, pattern, replacement in _PATTERNS:
            if not any(mark in lower for mark in marks):
                continue
            if pattern.search(text):  # `sub` reads its template even when there is nothing to do
                text = pattern.sub(replacement, text)
        return text


_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]+")


def _anchor(secret: str) -> str:
    """The longest part of `secret` that is spelled the same everywhere. May be empty."""
    return max(_UNRESERVED.findall(secret), key=len, default="")


def _any_spelling(secret: str) -> str:
    """A pattern of `secret` as it stands in plain text, in JSON, in JSON in JSON, and in a URL."""
    parts = re.findall(r"(\\*)([^\\]?)", secret)
    in_url = re.escape(quote(secret, safe="", errors="replace"))
    return f"{''.join(_in_json(len(run), char) for run, char in parts)}|{in_url}"


def _in_json(backslashes: int, char: str) -> str:
    """A pattern of some backslashes before another character, however often they were escaped.

    It takes the whole run of backslashes or nothing (`++`), and begins only where the run does: else a
    text of backslashes would be read again from each of them.
    """
    escape = json.dumps(char)[2:-1] if char and not " " <= char <= "~" else ""
    # What follows the first backslash: `n`, `u00e9`, or a pair of such.
    escape = rf"(?i:{escape.replace(chr(92), chr(92) * 2 + '++')})" if escape else ""
    plain = re.escape(char)
    if backslashes:
        run = rf"(?<!\\)\\{{{backslashes},}}+"
        return run + (f"(?:{plain}|{escape})" if escape else plain)
    if char == '"':
        return r'(?:(?<!\\)\\++)?"'
    return rf"(?:{plain}|(?<!\\)\\++{escape})" if escape else plain
