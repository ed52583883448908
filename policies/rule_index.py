"""Which rules a request may match, told by the first tests of all of them at once.

Of a hundred rules for a hundred keys one look-up names the one to try, and of a hundred thresholds one search:
a rule that does not match costs a request next to nothing. Must stay true: a rule that is left out is one
whose first test fails (`FirstTest.fails`). Pure.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from contracts.inference import RequestFacts
from policies.first_test import FirstTest
from policies.references import Reference
from policies.request_value import request_value

if TYPE_CHECKING:  # a shape has policies, and those this index
    from policies.effects import Shape

Numbers = Sequence[int]
OF_ITS_KIND = frozenset({"model", "max_tokens", "key", "intent", "priority"})
"""Fields that all requests of one kind have in common before any rule (`policies.usual`)."""


class RuleIndex:
    """`firsts` has the first test of each rule, in the order of the rules; None: it has none to go by."""

    def __init__(self, firsts: Iterable[FirstTest | None]) -> None:
        self._always: list[int] = []
        by_field: dict[Reference, list[tuple[int, FirstTest]]] = defaultdict(list)
        for number, first in enumerate(firsts):
            if first is None:
                self._always.append(number)
            else:
                by_field[first.reference].append((number, first))
        self._common: list[tuple[str, _Field]] = []
        self._own: list[tuple[str, _Field]] = []
        self._headers: list[tuple[str, _Field, Numbers]] = []
        """By name; and the rules to try of a request that has no such header: most have none."""
        for reference, tests in by_field.items():
            name, field = reference.name, _Field(tests)
            if reference.of == "header":
                self._headers.append((name, field, field.candidates("")))
            elif name in OF_ITS_KIND:
                self._common.append((name, field))
            else:
                self._own.append((name, field))

    def candidates(self, facts: RequestFacts, shape: "Shape") -> Numbers:
        """Numbers of the rules to try on a request that the rules so far have left in this shape, in order."""
        return sorted([*self.by_its_kind(facts, shape), *self.by_its_own(facts, shape)])

    def by_its_kind(self, facts: RequestFacts, shape: "Shape") -> Numbers:
        """Those that are to be tried on each request of the kind."""
        found = [*self._always]
        for name, field in self._common:
            found += field.candidates(request_value(name, facts, shape))
        return found

    def by_its_own(self, facts: RequestFacts, shape: "Shape") -> Numbers:
        """Those that are to be tried for the sake of what is this request's own."""
        headers = facts.headers
        found: Numbers = ()
        for name, header, absent in self._headers:
            numbers = header.candidates(headers[name]) if name in headers else absent
            if numbers:
                found = [*found, *numbers]
        for name, field in self._own:
            numbers = field.candidates(request_value(name, facts, shape))
            if numbers:
                found = [*found, *numbers]
        return found


class _Field:
    """The first tests of one field or header of the request, all against numbers or all against texts."""

    def __init__(self, tests: Sequence[tuple[int, FirstTest]]) -> None:
        self._all = [number for number, _ in tests]
        self._type: type = type(tests[0][1].literal)
        self._equal: dict[Any, list[int]] = {}
        self._others = [(number, first) for number, first in tests if first.comparison == "!="]
        ordered: dict[str, list[tuple[Any, int]]] = defaultdict(list)
        for number, first in tests:
            if first.comparison == "==":
                self._equal.setdefault(first.literal, []).append(number)
            elif first.comparison != "!=":
                ordered[first.comparison].append((first.literal, number))
        self._ordered = []
        for comparison, pairs in ordered.items():
            pairs.sort()
            literals, numbers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            self._ordered.append((comparison, literals, numbers))

    def candidates(self, value: Any) -> Numbers:
        if type(value) is not self._type or (type(value) is str and not value.isascii()):
            return self._all  # nothing is known: see `FirstTest.fails`
        found: Numbers = self._equal.get(value, ())
        for comparison, literals, numbers in self._ordered:
            match comparison:
                case "<":
                    held = numbers[bisect_right(literals, value) :]
                case "<=":
                    held = numbers[bisect_left(literals, value) :]
                case ">":
                    held = numbers[: bisect_left(literals, value)]
                case _:
                    held = numbers[: bisect_right(literals, value)]
            if held:
                found = [*found, *held]
        for number, first in self._others:
            if not first.fails(value):
                found = [*found, number]
        return found
