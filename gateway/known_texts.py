"""Known texts, found and replaced in whatever spelling they have in other text, however many they are.

Ten thousand callers have as many tokens, and each log line is searched for all of them. Must stay true: what is
found is what looking for each text by itself would find; the time depends on the searched text's length,
and hardly on how many texts are known.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

STRIDE = 8
"""Every anchor of at least twice as many characters, less one, contains one of the pieces of so many into which
the searched text is cut, wherever it stands in it."""
LONG_ENOUGH = 2 * STRIDE - 1
PATTERNS_KEPT = 64
_cut = re.compile(f".{{{STRIDE}}}", re.DOTALL).findall
"""A text in pieces. What is left at its end is too short to be one."""
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]+")


class KnownTexts:
    """Each text has an anchor, its longest part that is spelled the same everywhere: only where an anchor occurs is
    the text itself looked for. Few anchors are looked for one by one, which is quickest; of many long ones,
    those pieces are kept that could be met at any multiple of `STRIDE`."""

    FEW = 64

    def __init__(self, texts: Iterable[str]) -> None:
        # Longest first, so that a text which begins another one does not leave its rest behind.
        ordered = sorted(set(texts), key=lambda text: (-len(text), text))
        self._anchors = [(_anchor(text), text) for text in ordered]
        many = len(ordered) > self.FEW
        long = [a for a, _ in self._anchors if many and len(a) >= LONG_ENOUGH]
        self._alone = {a for a, _ in self._anchors} - set(long)
        self._pieces = {a[i : i + STRIDE] for a in long for i in range(STRIDE)}

    def replaced(self, text: str, by: str) -> str:
        """`text` with `by` in place of every known text."""
        if not self._may_hold(text):
            return text
        held = tuple(known for anchor, known in self._anchors if anchor in text)
        return _pattern(held).sub(by, text) if held else text

    def _may_hold(self, text: str) -> bool:
        for anchor in self._alone:
            if anchor in text:
                return True
        pieces = self._pieces
        if not pieces:
            return False
        # All are looked for in one call: a line of the log has seventy, of which hardly ever one is known.
        return not pieces.isdisjoint(_cut(text))


@lru_cache(maxsize=PATTERNS_KEPT)
def _pattern(texts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_any_spelling, texts)))


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
