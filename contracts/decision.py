"""What was decided about one request, and why: a value that the log, a header and `explain` all show."""

from functools import cached_property
from typing import Literal

import msgspec

from contracts.inference import Constraints


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A rule refused the request."""

    message: str
    retry_after_s: float | None = None
    status: Literal[429, 503] = 429


class Shaping(msgspec.Struct, frozen=True, kw_only=True):
    """The request as it is to be carried out. `None`: as the client asked."""

    model: str
    max_tokens: int | None = None
    priority: int = 0
    pool: str | None = None
    params: dict[str, msgspec.Raw] = {}
    reject: Rejection | None = None


RuleVerdict = Literal[
    "applied",
    "dry_run",  # would have applied
    "no_match",
    "not_evaluated",  # an earlier rule had refused the request
    "error",  # the condition could not be evaluated; the rule counts as not matching
    "held_by_floor",  # its model is below the intent's quality floor
    "spared",  # the loop left this request alone, to compare with
]


class RuleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one rule. `why` is a sentence; `changes` is "model assistant -> assistant-long"."""

    rule: str
    verdict: RuleVerdict
    why: str = ""
    changes: tuple[str, ...] = ()


class IntentOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Why an intent was chosen, or not."""

    intent: str
    chosen: bool
    why: str


class Decision(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that the brain says about one request. A pure function of the request and a snapshot.

    Most are given out again to all requests that they fit (`policies.usual`). So what follows from one is kept in its
    `__dict__`, which is no part of its value: it is neither compared nor encoded nor copied.
    """

    intent: str
    shaping: Shaping
    models: tuple[str, ...]
    """Model names to try, in order; every one of them meets the quality floor."""
    route: str = ""
    """The name whose route they are: what the client asked for, or what was chosen instead."""
    constraints: Constraints
    rules: tuple[RuleOutcome, ...] = ()
    treated: tuple[int, ...] = ()
    """The loop's actions that shaped or refused it, by number."""
    held_out: tuple[int, ...] = ()
    """Those that spared it, to compare with."""
    shed_for: str | None = None
    """The intent for whose sake the loop refused it."""
    hedge_after_s: float | None = None
    """Seconds after which a second attempt may start beside the first."""
    intents: tuple[IntentOutcome, ...] = ()
    """Filled when an explanation was asked for."""
    policy_version: str = ""

    @cached_property
    def summary(self) -> str:
        """One line for `x-setpoint-decision`: printable ASCII, at most 512 characters."""
        line = f"intent={self.intent or '-'}"
        for outcome in self.rules:
            if outcome.verdict in ("applied", "dry_run", "held_by_floor", "spared"):
                mark = "" if outcome.verdict == "applied" else f" ({outcome.verdict})"
                line += f"; {outcome.rule}{mark}: {', '.join(outcome.changes) or outcome.why}"
        return _told(line)


def _told(line: str) -> str:
    plain = line
    if not (line.isascii() and line.isprintable()):
        plain = "".join(c if " " <= c <= "~" else "?" for c in line)
    return plain if len(plain) <= 512 else plain[:509] + "..."
