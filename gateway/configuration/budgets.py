"""What a caller may use up, and in which time."""

from collections.abc import Sequence

from contracts import problems
from contracts.config import BudgetEntry
from gateway.configuration.findings import Findings

BUDGET_WINDOW_S = (1.0, 31 * 86_400.0)
"""A shorter one is over before a request is; a longer one is forgotten by a restart before it is over."""


def check_budget(findings: Findings, entries: Sequence[BudgetEntry], path: problems.Path) -> None:
    """Each entry limits one thing, no two the same, within a time that can be kept."""
    seen: set[tuple[str, float, bool]] = set()
    for index, entry in enumerate(entries):
        place = (*path, index)
        kinds = [k for k in ("requests", "tokens", "cost") if getattr(entry, k) is not None]
        if len(kinds) != 1:
            findings.note(place, "exactly one of requests, tokens and cost is needed")
            continue
        if entry.cost is not None and entry.cost <= 0:
            findings.note((*place, "cost"), "must be more than zero")
        least_s, most_s = BUDGET_WINDOW_S
        if entry.per > 0 and not least_s <= entry.per <= most_s:
            findings.note((*place, "per"), f"must be from {least_s:g}s to {most_s / 86_400:g}d")
        key = (kinds[0], float(entry.per), entry.per.calendar_day)
        if key in seen:
            findings.note(place, f"a second limit of {kinds[0]} for the same time")
        seen.add(key)
