"""Counts of tokens that a stream tells again and again, each time up to there. Pure."""

from typing import TypeVar

import msgspec

Counts = TypeVar("Counts", bound=msgspec.Struct)


def merged(before: Counts, later: Counts) -> Counts:
    """What is told later stands, what is not told later (None) stays."""
    told = {n: v for n in before.__struct_fields__ if (v := getattr(later, n)) is not None}
    return msgspec.structs.replace(before, **told)
