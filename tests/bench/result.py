"""What a measurement found, as a table and as JSON."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from tests.bench.rounds import Outcome
from tests.bench.samples import Samples

NONE = ""
"""A cell with nothing to say."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A table of one measurement, and the figures behind it."""

    title: str
    said: str
    """What was done, in one sentence."""
    head: list[str]
    rows: list[list[str]]
    outcomes: dict[str, Outcome]

    @property
    def faults(self) -> dict[str, str]:
        return {name: each.fault for name, each in self.outcomes.items() if each.fault}


class Column(msgspec.Struct, frozen=True):
    """A heading, and the cell of each contender's row."""

    heading: str
    cell: Callable[[Outcome], str]


def figure(heading: str, name: str, *, scale: float = 1.0, digits: int = 1) -> Column:
    """A figure as median (least to most)."""
    return Column(heading, lambda outcome: outcome[name].text(scale, digits))


def times(name: str, base: str, outcomes: Mapping[str, Outcome]) -> list[Column]:
    """A column of ratios to the contender `base`, if that has figures."""
    return _against(f"x {base}", name, base, outcomes, Samples.over, 1.0, 2)


def added(
    heading: str, name: str, base: str, outcomes: Mapping[str, Outcome], scale: float
) -> list[Column]:
    """A column of differences to the contender `base`, if that has figures."""
    return _against(heading, name, base, outcomes, Samples.less, scale, 3)


def _against(
    heading: str,
    name: str,
    base: str,
    outcomes: Mapping[str, Outcome],
    how: Callable[[Samples, Samples], Samples],
    scale: float,
    digits: int,
) -> list[Column]:
    other = outcomes.get(base)
    if other is None or name not in other.figures:
        return []
    against = other[name]

    def cell(outcome: Outcome) -> str:
        return NONE if outcome is other else how(outcome[name], against).text(scale, digits)

    return [Column(heading, cell)]


def result(
    title: str, said: str, outcomes: dict[str, Outcome], columns: Sequence[Column]
) -> Result:
    """A row for each contender; one with a fault shows that, and no figure."""
    rows = []
    for name, outcome in outcomes.items():
        if outcome.fault:
            cells = [outcome.fault] + [NONE] * (len(columns) - 1)
        else:
            cells = [column.cell(outcome) for column in columns]
        rows.append([name, *cells])
    head = [NONE, *(column.heading for column in columns)]
    return Result(title=title, said=said, head=head, rows=rows, outcomes=outcomes)
