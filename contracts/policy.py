"""A policy file, as Structs: what was promised (`intents`) and what may bend a request (`rules`).

Strict, like the configuration. That conditions compile and names exist is checked by
`policies.compiler`; only shape and single-field bounds live here.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.config import Name
from contracts.quantities import Duration, Money, Quantity, Share

Priority = Annotated[int, Meta(ge=-1000, le=1000)]


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which requests an intent is for. Any part that is given and fits is enough.

    Precedence between intents: header, then task, then key, then model, then `default`.
    """

    header: dict[str, str] = {}
    task: bool = False
    """Requests that came as tasks. One intent may say so."""
    key: list[Name] = []
    model: list[Name] = []
    default: bool = False


class Objectives(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was promised. Latencies at a percentile over the intent's window."""

    ttft_p50: Duration | None = None
    ttft_p95: Duration | None = None
    ttft_p99: Duration | None = None
    tpot_p50: Duration | None = None
    tpot_p95: Duration | None = None
    tpot_p99: Duration | None = None
    e2e_p50: Duration | None = None
    e2e_p95: Duration | None = None
    e2e_p99: Duration | None = None
    error_rate: Share | None = None
    cost_per_minute: Money | None = None
    cost_per_request: Money | None = None

    @property
    def ttft_s(self) -> float | None:
        """The first-token objective that a single request is held to: the strictest tail."""
        return self.ttft_p95 or self.ttft_p99 or self.ttft_p50

    @property
    def tpot_s(self) -> float | None:
        return self.tpot_p95 or self.tpot_p99 or self.tpot_p50

    @property
    def e2e_s(self) -> float | None:
        return self.e2e_p95 or self.e2e_p99 or self.e2e_p50


PlainRung = Literal["order", "hold_back", "reroute", "hedge", "shed", "refuse"]
PLAIN_RUNGS: tuple[str, ...] = ("order", "hold_back", "reroute", "hedge", "shed", "refuse")


class SwitchModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    switch_model: Name
    dry_run: bool = False


class CapTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    cap_tokens: Annotated[int, Meta(ge=1)]
    dry_run: bool = False


class ReduceBatching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    reduce_batching: Share
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.reduce_batching < 1:  # the whole batch is no reduction, none is no batch
            raise ValueError("reduce_batching must be more than 0 and less than 1")


_WITH_ARGUMENT: dict[str, type[SwitchModel | CapTokens | ReduceBatching]] = {
    "switch_model": SwitchModel,
    "cap_tokens": CapTokens,
    "reduce_batching": ReduceBatching,
}


def _parse(kind: type[Quantity], raw: object) -> Quantity:
    return kind.parse(raw)


class Rung(msgspec.Struct, frozen=True):
    """One step of a ladder: a plain name, or a name with its one argument.

    YAML spells it `shed`, `{shed: true}` or `{cap_tokens: 256}`, the mappings also with
    `dry_run: true`; `parse` reads all of them.
    """

    action: str
    argument: str | int | float | None = None
    dry_run: bool = False
    """Decide and log, do not act."""

    @classmethod
    def parse(cls, raw: object) -> "Rung":
        """Raises ValueError naming the rungs that exist."""
        match raw:
            case str() if raw in PLAIN_RUNGS:
                return cls(raw)
            case dict() if len(raw.keys() - {"dry_run"}) == 1:
                (action,) = raw.keys() - {"dry_run"}
                if action in PLAIN_RUNGS and raw[action] is True:
                    return cls(action, dry_run=_boolean(raw.get("dry_run", False)))
                if action in _WITH_ARGUMENT:
                    return cls._with_argument(action, raw)
        names = [*PLAIN_RUNGS, "{switch_model: MODEL}", "{cap_tokens: N}", "{reduce_batching: 0.7}"]
        raise ValueError(f"expected a rung ({', '.join(names)}), got {raw!r}")

    @classmethod
    def _with_argument(cls, action: str, raw: dict[str, object]) -> "Rung":
        try:
            parsed = msgspec.convert(raw, _WITH_ARGUMENT[action], dec_hook=_parse)
        except msgspec.ValidationError as exc:
            raise ValueError(str(exc)) from exc
        return cls(action, getattr(parsed, action), parsed.dry_run)


def _boolean(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"dry_run: expected true or false, got {raw!r}")
    return raw


def repeated_rungs(ladder: Sequence[Rung]) -> Iterator[tuple[int, int]]:
    """Each rung that does what an earlier one does, as (its index, the earlier one's).

    The same action with another argument is a step of its own; a dry run is none.
    """
    first: dict[tuple[str, str | int | float | None], int] = {}
    for index, rung in enumerate(ladder):
        earlier = first.setdefault((rung.action, rung.argument), index)
        if earlier != index:
            yield index, earlier


class Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One promise, and what may be done to keep it, least harm first."""

    name: Name
    match: Match = Match()
    objectives: Objectives = Objectives()
    priority: Priority = 0
    """Higher first; below 0 may be shed."""
    quality_floor: Share | None = None
    """Never served by a model below this."""
    window: Duration = Duration(30)
    ladder: list[Rung] = []
    late: Literal["refuse", "serve"] = "refuse"
    """A request that can no longer have its first token in time: turned away at once, which is what
    keeps the promise to the others, or answered all the same. A task has no such time, unless it has
    brought one in a header."""
    llmd_objective: Name | None = None
    """The InferenceObjective to name to llm-d; the intent's own name by default."""
    dry_run: bool = False
    """Decide and log, do not act: neither rungs, nor limits, nor deadlines of this intent."""


class Reject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    retry_after: Duration | None = None
    message: str | None = None
    status: Literal[429, 503] = 429


class Then(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a rule does. Several at once are allowed."""

    model: Name | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    """A cap: it lowers what the client asked for and never raises it."""
    priority: Priority | None = None
    pool: Name | None = None
    intent: Name | None = None
    params: dict[str, Any] = {}
    """Body members to set, e.g. `{temperature: 0.2}`."""
    reject: Reject | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. `when` is CEL; without it the rule always matches."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    then: Then
    when: str | None = None
    dry_run: bool = False
    """Decide and log, do not act."""


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of the policies folder. Files are read in the order of their names."""

    intents: list[Intent] = []
    rules: list[Rule] = []
    dry_run: bool = False
    """Decide and log, do not act, for every rule and every intent of this file."""
