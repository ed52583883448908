"""Ids of requests and answers: no two are alike, and nobody can guess one.

A number that a key of this process hides: asking the system for random bytes takes five times as long, and each
request needs two ids.
"""

import itertools
import os
from hashlib import blake2b

_numbers = itertools.count()
_key = os.urandom(32)


def new_id(prefix: str) -> str:
    """`prefix` and 24 hexadecimal digits."""
    return prefix + blake2b(b"%d" % next(_numbers), key=_key, digest_size=12).hexdigest()


def _forked() -> None:
    """Parent and child would count on from the same number."""
    global _key
    _key = os.urandom(32)


os.register_at_fork(after_in_child=_forked)
