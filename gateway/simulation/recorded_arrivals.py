"""From recorded executions to the arrivals of a simulation. Pure.

A request comes when it came, from its caller, for its model, and falls under the intent that the given
policies pick for it: by its own headers, as they were. Must stay true: the same executions give the same
arrivals; what is left out or guessed is counted and told. Who was refused or broke off was load all the
same: how long its answer would have been is taken from those that were answered.
"""

from collections import Counter
from collections.abc import Iterable
from statistics import median_low
from typing import Any

import msgspec

from contracts.catalog import Catalog
from contracts.inference import RequestFacts
from gateway.simulation.trace import MAX_TOKENS, Arrival
from policies.intents import pick
from policies.policy_set import PolicySet

_ANSWERED = "completed"
NAMED_MODELS = 5
"""Of those that are left out."""


class Execution(msgspec.Struct, frozen=True, gc=False):
    """What of one is needed. Positional: there may be millions."""

    accepted_s: float
    model: str
    caller: str
    intent: str
    prompt_tokens: int
    output_tokens: int | None
    """None: it was not answered to its end."""
    most_tokens: int | None
    """What its client asked for at most."""


def _models_left_out(counts: Counter[str]) -> str:
    """One line, however many they are: clients may have asked for any name."""
    named = counts.most_common(NAMED_MODELS)
    shown = [f"{count} {model!r}" for model, count in named]
    if others := len(counts) - len(named):
        shown.append(f"and {others} others")
    return f"left out: {counts.total()} for models that are not simulated ({', '.join(shown)})"


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    arrivals: list[Arrival]
    notes: tuple[str, ...]


class Gatherer:
    """`add` executions in time order, then `gathered`."""

    def __init__(self, policy: PolicySet, catalog: Catalog) -> None:
        self._policy = policy
        self._catalog = catalog
        self._executions: list[Execution] = []
        self._names: dict[str, str] = {}
        """Each text once."""
        self._left_out: Counter[str] = Counter()
        self._not_simulated: Counter[str] = Counter()
        """By model."""

    def __len__(self) -> int:
        return len(self._executions)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows as `ExecutionStore.traffic` gives them."""
        for row in rows:
            if why := self._useless(row):
                self._left_out[why] += 1
            elif row["model"] not in self._catalog.models:
                self._not_simulated[row["model"]] += 1
            else:
                self._executions.append(self._execution(row))

    def gathered(self) -> Gathered:
        """Times count from the first execution that is simulated."""
        lengths = _Lengths(self._executions)
        start_s = self._executions[0].accepted_s if self._executions else 0.0
        arrivals = [
            Arrival(
                max(0.0, e.accepted_s - start_s),
                min(max(1, e.prompt_tokens), MAX_TOKENS),
                min(max(1, lengths.of(e)), MAX_TOKENS),
                e.caller,
                e.intent,
                e.model,
            )
            for e in self._executions
        ]
        notes = [f"left out: {count} {why}" for why, count in sorted(self._left_out.items())]
        if self._not_simulated:
            notes.append(_models_left_out(self._not_simulated))
        if guessed := sum(e.output_tokens is None for e in self._executions):
            notes.append(
                f"{guessed} of {len(arrivals)} requests had no whole answer: the median length of their model's "
                "answers is taken for theirs"
            )
        return Gathered(arrivals=arrivals, notes=tuple(notes))

    def _useless(self, row: dict[str, Any]) -> str:
        """Why it cannot be simulated; "" if it can."""
        if row["operation"] == "embedding":
            return "embeddings"
        if row["outcome"] == "invalid":
            return "requests that were at fault themselves"
        return ""

    def _execution(self, row: dict[str, Any]) -> Execution:
        facts = msgspec.convert(row["facts"], RequestFacts)
        answered = row["outcome"] == _ANSWERED
        intent = pick(self._policy, self._catalog, facts).intent
        return Execution(
            row["accepted_s"],
            self._names.setdefault(row["model"], row["model"]),
            self._names.setdefault(facts.key, facts.key),
            self._names.setdefault(intent, intent),
            row["prompt_tokens"] or facts.prompt_tokens,
            row["completion_tokens"] if answered else None,
            facts.max_tokens,
        )


class _Lengths:
    """How long answers are."""

    def __init__(self, executions: Iterable[Execution]) -> None:
        known: dict[str, list[int]] = {}
        for e in executions:
            if e.output_tokens is not None:
                known.setdefault(e.model, []).append(e.output_tokens)
        self._usual = {model: median_low(lengths) for model, lengths in known.items()}
        every = [tokens for lengths in known.values() for tokens in lengths]
        self._overall = median_low(every) if every else 1

    def of(self, execution: Execution) -> int:
        if execution.output_tokens is not None:
            return execution.output_tokens
        usual = self._usual.get(execution.model, self._overall)
        return usual if execution.most_tokens is None else min(usual, execution.most_tokens)
