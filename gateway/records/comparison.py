"""What was answered then and now, side by side: the difference of the texts, and how long both took.

Pure; every line is fit for a terminal. Ids of tool calls are made anew each time, so they are not compared.
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from contracts.inference import RoutingPlan
from gateway.records.kept import Answer, AnsweredChoice

_Side = tuple[str, str]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer came about. Durations in seconds; None: not known, or it did not come to that."""

    served_by: str | None
    attempts: tuple[str, ...]
    """Where each was made, and what became of it."""
    engine: str | None
    queue_s: float
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    outcome: str


def compared(then: Answer | None, now: Answer | None) -> list[str]:
    """The difference of the two texts in unified form; empty if they are the same. Of a `then` of which only
    the beginning was recorded, no more is compared."""
    if then is not None and now is not None and then.truncated:
        now = _beginning(now, then)
    lines = difflib.unified_diff(
        list(_lines(then)), list(_lines(now)), "then", "now", lineterm="", n=1
    )
    return [printable(line) for line in lines]


def table(then: Facts, now: Facts) -> list[str]:
    """One line a fact, `then` before `now`."""
    rows: list[tuple[str, str, str]] = [("", "then", "now")]
    rows += [
        (name, of_then, of_now)
        for (name, of_then), (_, of_now) in zip(_told(then), _told(now), strict=True)
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [
        printable(f"{name:<{widths[0]}}  {of_then:<{widths[1]}}  {of_now}".rstrip())
        for name, of_then, of_now in rows
    ]


def changed(then: RoutingPlan | None, now: RoutingPlan, names: Iterable[_Side] = ()) -> list[str]:
    """What of the plan is not as it was, a line a member. `names` are pairs such as of the intent's names."""
    told = dict(_leaves(_plain(then))), dict(_leaves(_plain(now)))
    lines = [f"{name}: {value}" for name, value in names]
    for path in sorted({*told[0], *told[1]}):
        old, new = (side.get(path, "-") for side in told)
        if old != new:
            lines.append(f"{path}: {old} -> {new}")
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """What a client or a model said cannot speak to the terminal."""
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


# -- texts ------------------------------------------------------------------------------------


def _lines(answer: Answer | None) -> Iterator[str]:
    """The answer's text, line by line; what is not content has a heading."""
    if answer is None:
        return
    for choice in answer.choices:
        if len(answer.choices) > 1:
            yield f"[choice {choice.index}]"
        for heading, text in _parts(choice):
            if heading:
                yield heading
            yield from text.split("\n")


def _parts(choice: AnsweredChoice) -> Iterator[_Side]:
    if choice.reasoning:
        yield "[reasoning]", choice.reasoning
        yield "[answer]", choice.content
    elif choice.content:
        yield "", choice.content
    if choice.refusal:
        yield "[refusal]", choice.refusal
    for call in choice.tool_calls:
        yield "[tool call]", f"{call.name}({call.arguments})"


def _beginning(answer: Answer, pattern: Answer) -> Answer:
    """As much of `answer` as there is of `pattern`, text by text."""
    whole = {choice.index: choice for choice in answer.choices}
    return Answer(
        choices=tuple(_cut(whole[c.index], c) for c in pattern.choices if c.index in whole)
    )


def _cut(choice: AnsweredChoice, pattern: AnsweredChoice) -> AnsweredChoice:
    calls = zip(choice.tool_calls, pattern.tool_calls, strict=False)
    return msgspec.structs.replace(
        choice,
        content=choice.content[: len(pattern.content)],
        reasoning=choice.reasoning[: len(pattern.reasoning)],
        refusal=choice.refusal[: len(pattern.refusal)],
        tool_calls=tuple(
            msgspec.structs.replace(
                call, name=call.name, arguments=call.arguments[: len(kept.arguments)]
            )
            for call, kept in calls
        ),
    )


# -- facts ------------------------------------------------------------------------------------


def _told(facts: Facts) -> Iterator[_Side]:
    yield "outcome", facts.outcome
    yield "served by", facts.served_by or "-"
    yield "attempts", ", ".join(facts.attempts) or "-"
    yield "engine", facts.engine or "-"
    yield "tokens", f"{_count(facts.prompt_tokens)}+{_count(facts.completion_tokens)}"
    yield "queue", _milliseconds(facts.queue_s)
    yield "ttft", _milliseconds(facts.ttft_s)
    yield "tpot", _milliseconds(facts.tpot_s)
    yield "e2e", _milliseconds(facts.e2e_s)


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else str(tokens)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


# -- plans ------------------------------------------------------------------------------------


def _plain(plan: RoutingPlan | None) -> Any:
    """Through JSON: some members are kept as they are written."""
    return {} if plan is None else msgspec.json.decode(msgspec.json.encode(plan))


def _leaves(value: object, path: str = "") -> Iterator[_Side]:
    """Every member that is no mapping and no list, by its path."""
    match value:
        case dict():
            for name, member in value.items():
                yield from _leaves(member, f"{path}.{name}".lstrip("."))
        case list():
            for number, member in enumerate(value, 1):
                yield from _leaves(member, f"{path}[{number}]")
        case _:
            yield path, str(value)
