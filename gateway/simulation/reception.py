"""From an arrival to a decided request: what the gateway's intake, decision and plan do together.

Every controller's requests come through here, so that they differ in who waits and who is let in, and
in nothing else: intents, rules, models and prices are the same. Must stay true: decisions are
`policies.decide`'s, and a prompt that its model cannot hold is declined, as by an engine.
"""

from collections.abc import Mapping

from msgspec import structs

from contracts.catalog import Catalog, ModelCard
from contracts.decision import Decision
from contracts.errors import GatewayError
from contracts.inference import RequestFacts
from contracts.snapshot import Snapshot
from gateway.simulation.outcome import Outcome
from gateway.simulation.trace import Arrival
from policies.decide import decide
from policies.held import CALM, Holding, draws
from policies.intents import pick
from policies.policy_set import PolicySet

NAMED_INTENT = "setpoint simulate: intent"
"""Picks the intents that no header picks; with blanks, so that no client's header is it."""


class Reception:
    """`model` is where those go that name none. The intents and models of arrivals must exist."""

    def __init__(self, policy: PolicySet, catalog: Catalog, model: str) -> None:
        self.policy = structs.replace(
            policy,
            by_header={NAMED_INTENT: {name: name for name in policy.intents}, **policy.by_header},
        )
        self.catalog = catalog
        self._model = model
        self._headers = _headers(policy)

    def intent_of(self, arrival: Arrival) -> str:
        """The intent before any rule; "" for none."""
        return pick(self.policy, self.catalog, self._facts(arrival)).intent

    def model_of(self, arrival: Arrival) -> str:
        """The model that is asked for."""
        return arrival.model or self._model

    def receive(
        self, number: int, arrival: Arrival, snapshot: Snapshot, holding: Holding = CALM
    ) -> tuple[Outcome, Decision | None]:
        """The decision, whatever it says, or None with the outcome of a request that no model may serve."""
        outcome = Outcome(arrival.arrival_s, arrival.tenant, arrival.input_tokens)
        outcome.model = arrival.model or self._model
        try:
            decision = decide(
                self.policy,
                self.catalog,
                self._facts(arrival),
                snapshot,
                holding=holding,
                draws=draws(number),
            )
        except GatewayError as exc:
            outcome.intent = self.intent_of(arrival)
            outcome.fate, outcome.finish_reason = "refused", exc.code
            return outcome, None
        outcome.intent, outcome.model = decision.intent, decision.shaping.model
        return outcome, decision

    def answer_tokens(
        self, arrival: Arrival, decision: Decision, card: ModelCard, outcome: Outcome
    ) -> int:
        """How long the answer will be; 0, and the outcome written, if the prompt does not fit."""
        tokens = arrival.output_tokens
        if decision.shaping.max_tokens is not None:
            tokens = min(tokens, decision.shaping.max_tokens)
        if card.context is not None:
            tokens = min(tokens, card.context - arrival.input_tokens)
            if tokens < 1:
                outcome.fate, outcome.finish_reason = "failed", "context_length_exceeded"
                return 0
        return tokens

    def _facts(self, arrival: Arrival) -> RequestFacts:
        return RequestFacts(
            operation="chat",
            model=arrival.model or self._model,
            stream=True,
            prompt_tokens=arrival.input_tokens,
            messages=1,
            key=arrival.tenant,
            headers=self._headers[arrival.intent],
        )


def _headers(policy: PolicySet) -> Mapping[str, dict[str, str]]:
    """For each intent the header that picks it; none for ""."""
    found: dict[str, dict[str, str]] = {"": {}}
    for header, values in policy.by_header.items():
        for value, intent in values.items():
            found.setdefault(intent, {header: value})
    for name in policy.intents:
        found.setdefault(name, {NAMED_INTENT: name})
    return found
