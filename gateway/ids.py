"""Ids of requests and answers: no two are alike, and nobody can guess one.

They begin with the second in which they were drawn, as a UUID of version 7 does: those of one batch of records then
stand side by side in the index of the database, where those that are random altogether touch a page each. The rest is
72 of the system's random bits, asked for by the dozen: a call for each of the two ids that a request needs costs
more than all else that makes one; for hundreds at once a request would wait that needs two.
"""

import os
import time

_SECONDS = 2**24
"""After so many, 194 days, times begin anew: what is as old is seldom kept, and would only be a neighbour."""
_BYTES = 9
_AT_ONCE = 48
_drawn: list[str] = []
"""Whose turn has not come yet."""


def new_id(prefix: str) -> str:
    """`prefix` and 24 hexadecimal digits."""
    if not _drawn:
        _draw()
    return prefix + _drawn.pop()


def new_request_id() -> str:
    return new_id("req_")


def _draw() -> None:
    second = f"{int(time.time()) % _SECONDS:06x}"
    digits, length = os.urandom(_BYTES * _AT_ONCE).hex(), 2 * _BYTES
    _drawn.extend(
        second + digits[start : start + length] for start in range(0, len(digits), length)
    )


os.register_at_fork(after_in_child=_drawn.clear)
"""Parent and child would go on with the same ones."""
