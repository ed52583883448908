"""Ids of requests and answers: no two are alike, and nobody can guess one.

Numbers that a key of this process hides: asking the system for random bytes takes five times as long, and each
request needs two ids. One hash is several ids.
"""

import itertools
import os
from hashlib import blake2b

ID_CHARS = 24
_numbers = itertools.count()
_key = os.urandom(32)
_drawn: list[str] = []
"""Made, and not taken yet."""


def new_id(prefix: str) -> str:
    """`prefix` and 24 hexadecimal digits."""
    if not _drawn:
        _draw()
    return prefix + _drawn.pop()


def _draw() -> None:
    digits = blake2b(b"%d" % next(_numbers), key=_key, digest_size=60).hexdigest()
    _drawn.extend([digits[at : at + ID_CHARS] for at in range(0, len(digits), ID_CHARS)])


def _forked() -> None:
    """Parent and child would count on from the same number, and take the same ids."""
    global _key
    _key = os.urandom(32)
    _drawn.clear()


os.register_at_fork(after_in_child=_forked)
