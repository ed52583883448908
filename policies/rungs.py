"""What each rung of a ladder is: which signals it can help, where it acts, when it can be judged, and
how it is said. One table; nothing here decides or acts.

Must stay true: a rung is only ever climbed for a signal it can move, so that "least harm first" never
means doing harm in vain.
"""

import msgspec

from contracts.catalog import Catalog
from contracts.policy import Rung
from policies.objectives import SignalName

_LATE: frozenset[SignalName] = frozenset({"ttft", "e2e"})
_SLOW: frozenset[SignalName] = frozenset({"tpot", "e2e"})


class RungKind(msgspec.Struct, frozen=True, kw_only=True):
    """`per_request`: it shapes requests one by one, so some can be spared to compare with. Otherwise
    it changes a pool for everybody, and only one such action may be unverified in a pool.

    `settle_s` is how long it takes until a newcomer meets a pool that the action has changed.
    """

    helps: frozenset[SignalName]
    per_request: bool
    settle_s: float
    after_service: bool = False
    """It works once requests of before have ended: settle for a long answer's time as well."""


KINDS: dict[str, RungKind] = {
    "order": RungKind(helps=_LATE, per_request=False, settle_s=1.0),
    "hold_back": RungKind(helps=_LATE | _SLOW, per_request=False, settle_s=2.0, after_service=True),
    "switch_model": RungKind(
        helps=_LATE | _SLOW | {"error_rate", "cost_per_minute", "cost_per_request"},
        per_request=True,
        settle_s=0.0,
    ),
    "cap_tokens": RungKind(
        helps=_LATE | _SLOW | {"cost_per_minute", "cost_per_request"},
        per_request=True,
        settle_s=1.0,
        after_service=True,
    ),
    "reduce_batching": RungKind(helps=_SLOW, per_request=False, settle_s=2.0, after_service=True),
    "hedge": RungKind(helps=_LATE, per_request=True, settle_s=0.0),
    "reroute": RungKind(helps=_LATE | _SLOW | {"error_rate"}, per_request=True, settle_s=0.0),
    "shed": RungKind(helps=_LATE | _SLOW, per_request=False, settle_s=2.0, after_service=True),
    "refuse": RungKind(helps=_LATE | _SLOW, per_request=False, settle_s=2.0, after_service=True),
}


def label(rung: Rung) -> str:
    """As an operator wrote it: `shed`, `cap_tokens 256`."""
    return rung.action if rung.argument is None else f"{rung.action} {rung.argument}"


def words(rung: Rung, intent: str, usual: str, catalog: Catalog) -> str:
    """What was done, as a person says it. `usual` is the model that the intent mostly asks for."""
    match rung.action:
        case "order":
            return f"ordered callers of {intent} by deadline where their shares allow it"
        case "hold_back":
            return f"held back classes below {intent}"
        case "switch_model":
            return f"switched model {usual or 'any'} -> {rung.argument} for {intent}"
        case "cap_tokens":
            return f"capped tokens at {rung.argument} for {intent}"
        case "reduce_batching":
            share = float(rung.argument or 1.0)
            return f"reduced batching to {share * 100:g}% for {intent}"
        case "hedge":
            return f"hedged slow first tokens of {intent}"
        case "reroute":
            other = next(
                (m for m in catalog.routes.get(usual, ()) if m != usual), "the next target"
            )
            return f"rerouted {intent} to {other}"
        case "shed":
            return f"shed sheddable traffic for {intent}"
        case _:
            return f"refused all below {intent}"
