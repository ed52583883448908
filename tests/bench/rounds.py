"""Rounds that alternate between the contenders, so that a slow minute hits them all."""

import sys
from collections.abc import Callable, Sequence

import msgspec

from tests.bench.plan import Run
from tests.bench.samples import Samples

Figures = dict[str, float]


class WrongAnswers(Exception):
    """A run had answers that were not whole or not right; the text counts them."""


class Outcome(msgspec.Struct):
    """What the rounds of one contender gave: figures by name, or a fault and no figures."""

    figures: dict[str, Samples] = {}
    fault: str = ""

    def __getitem__(self, figure: str) -> Samples:
        return self.figures[figure]


def right(run: Run) -> Run:
    """The run, if all its answers were right. Raises WrongAnswers."""
    if complaint := run.complaint():
        raise WrongAnswers(complaint)
    return run


def alternate(
    names: Sequence[str], rounds: int, measure: Callable[[str], Figures]
) -> dict[str, Outcome]:
    """Outcomes by contender's name. Who has given wrong answers is not asked again."""
    values: dict[str, list[Figures]] = {name: [] for name in names}
    faults: dict[str, str] = {}
    for number in range(rounds):
        # Each round begins with another one, so that nobody is always first.
        turn = number % max(1, len(names))
        for name in [*names[turn:], *names[:turn]]:
            if name in faults:
                continue
            try:
                values[name].append(measure(name))
            except WrongAnswers as exc:
                faults[name] = str(exc)
            print(".", end="", file=sys.stderr, flush=True)
    return {
        name: Outcome(fault=faults[name]) if name in faults else Outcome(figures=_columns(rows))
        for name, rows in values.items()
    }


def _columns(rows: list[Figures]) -> dict[str, Samples]:
    names = rows[0] if rows else {}
    return {name: Samples([row[name] for row in rows]) for name in names}
