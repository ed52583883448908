"""What a condition tests first, as plain Python: most rules are told by it that they do not match.

Of `request.intent == "batch" && ...` the first comparison is enough to know that the whole is false, whatever
the rest says and whether or not that can be evaluated at all; and where no rule needs more, no CEL context
is built (of the policies that ship, 25 us a request against 3). Must stay true: where this says that a
condition fails, CEL says false; where it does not, nothing is known. Pure.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

import msgspec

from policies.references import Reference

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FIRST = re.compile(
    r"""\s*request\.(?:headers\["([a-z0-9-]+)"\]|([a-z_]+))\s*(==|!=|<=?|>=?)\s*(?:([0-9]{1,18})|"([ !#-\[\]-~]*)")\s*(?:&&|\Z)"""
)
"""A comparison with a plain literal, and an "and" or nothing behind it."""


class FirstTest(msgspec.Struct, frozen=True, kw_only=True):
    """`reference` compared with a literal by `comparison`, one of CEL's signs."""

    reference: Reference
    comparison: str
    literal: int | str

    def fails(self, value: Any) -> bool:
        """Whether a condition is false of a request with this value, by this test alone."""
        literal = self.literal
        if type(value) is not type(literal) or (type(value) is str and not value.isascii()):
            return False  # how CEL compares texts beyond ASCII is CEL's business
        return not _OPERATORS[self.comparison](value, literal)


def first_test(source: str, references: tuple[Reference, ...]) -> FirstTest | None:
    """The first test of a condition that compiles; None where it has none that can be told so simply."""
    found = _FIRST.match(source)
    # "Or" and "? :" bind less tightly than "and": the comparison would not be the whole's.
    if found is None or "||" in source or "?" in source:
        return None
    header, name, comparison, number, text = found.groups()
    of = "request" if header is None else "header"
    literal = text if number is None else int(number)
    kind = "int" if number is not None else "str"
    for reference in references:
        if (reference.of, reference.name, reference.kind) == (of, header or name, kind):
            return FirstTest(reference=reference, comparison=comparison, literal=literal)
    return None
