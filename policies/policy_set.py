"""A compiled policy: what `decide` reads for every request. A value, replaced as a whole on reload.

Built by `policies.compiler` only; holds no logic beyond look-ups.
"""

import msgspec

from contracts.policy import Intent, Then
from contracts.problems import Position
from policies.conditions import Condition
from policies.references import Reference
from policies.rule_index import RuleIndex

NO_INTENT = Intent(name="")
"""What a request gets that no intent is for: nothing was promised, nothing is asked below."""


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, ready to run. `condition` None: it always matches. `params` are JSON values."""

    name: str
    then: Then
    where: Position
    condition: Condition | None = None
    params: dict[str, msgspec.Raw] = {}
    dry_run: bool = False


class PolicySet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the policy files say, in their order. An empty one lets every request pass."""

    intents: dict[str, Intent] = {}
    rules: tuple[CompiledRule, ...] = ()
    version: str = ""
    """A short hash of the content: equal content, equal version."""
    default: str | None = None
    for_tasks: str | None = None
    by_header: dict[str, dict[str, str]] = {}
    """Lower-case header name, then value, to intent."""
    by_key: dict[str, str] = {}
    by_model: dict[str, str] = {}
    references: tuple[Reference, ...] = ()
    """Every value that some rule's condition reads, once."""
    asks_pools: bool = False
    """Some rule reads a pool's state, so a decision needs a snapshot of them."""
    index: RuleIndex = RuleIndex(())
    """Of `rules`, whatever it is made with."""

    def __post_init__(self) -> None:
        firsts = (None if rule.condition is None else rule.condition.first for rule in self.rules)
        msgspec.structs.force_setattr(self, "index", RuleIndex(firsts))

    def intent(self, name: str | None) -> Intent:
        """The intent of that name, NO_INTENT where there is none."""
        return self.intents.get(name or "", NO_INTENT)
