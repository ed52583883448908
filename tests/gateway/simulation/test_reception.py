"""Arrivals become decided requests as in the gateway: intents, rules, floors, lengths."""

from pathlib import Path

import pytest

from contracts.snapshot import PoolSignals, Snapshot
from gateway.simulation.plan import Plan
from gateway.simulation.reception import Reception
from gateway.simulation.trace import Arrival
from policies.held import HeldRung, Holding
from tests.fakes.simulated import TWO_MODELS, plan_of

pytestmark = pytest.mark.req("INT-12")
CALM = Snapshot()
POLICIES = """\
intents:
  - {name: chat, match: {header: {x-intent: chat}}, quality_floor: 0.8}
  - {name: nightly, match: {key: [night]}}
  - {name: by_model, match: {model: [small]}}
  - {name: secret}
  - {name: rest, match: {default: true}, ladder: [{cap_tokens: 5}]}
rules:
  - {name: cap, when: request.prompt_tokens > 5000, then: {max_tokens: 7}}
  - {name: full, when: pools.far.queued > 3, then: {reject: {status: 503}}}
  - {name: header, when: 'request.headers["x-intent"] == "chat"', then: {priority: 3}}
"""


@pytest.fixture
def reception(tmp_path: Path) -> Reception:
    return plan(tmp_path).reception()


def plan(folder: Path, config: str = TWO_MODELS) -> Plan:
    config = "auth: {keys: [{name: night, token: t}]}\n" + config
    return plan_of(folder, [], config=config, policies=POLICIES)


def arrival(prompt: int = 10, output: int = 20, **more: str) -> Arrival:
    return Arrival(0.0, prompt, output, **more)


@pytest.mark.parametrize(
    ("asked", "intent"),
    [
        (arrival(), "rest"),
        (arrival(tenant="night"), "nightly"),
        (arrival(model="small"), "by_model"),
        (arrival(intent="chat", tenant="night", model="small"), "chat"),
        (arrival(intent="secret", tenant="night"), "secret"),
        (arrival(intent="nightly"), "nightly"),
        (arrival(intent="rest", tenant="night"), "rest"),
    ],
)
def test_a_trace_names_an_intent_or_its_tenant_or_model_does(
    reception: Reception, asked: Arrival, intent: str
) -> None:
    assert reception.intent_of(asked) == intent
    if intent != "chat":  # whose floor is above the small model
        outcome, decision = reception.receive(1, asked, CALM)
        assert decision is not None
        assert outcome.intent == decision.intent == intent


def test_an_intent_with_a_header_is_named_by_it_so_that_rules_can_read_it(
    reception: Reception,
) -> None:
    _, decision = reception.receive(1, arrival(intent="chat"), CALM)
    assert decision is not None
    assert decision.shaping.priority == 3


def test_an_intent_that_does_not_exist_is_an_error(reception: Reception) -> None:
    with pytest.raises(KeyError):
        reception.receive(1, arrival(intent="chta"), CALM)


def test_a_request_goes_to_its_model_or_to_the_simulations(reception: Reception) -> None:
    assert reception.model_of(arrival()) == "big"
    assert reception.model_of(arrival(model="small")) == "small"
    outcome, _ = reception.receive(1, arrival(model="small"), CALM)
    assert outcome.model == "small"


@pytest.mark.req("INT-11")
def test_a_request_that_only_a_model_below_the_floor_could_serve_is_refused(
    reception: Reception,
) -> None:
    outcome, decision = reception.receive(1, arrival(intent="chat", model="small"), CALM)
    assert decision is None
    assert (outcome.fate, outcome.intent) == ("refused", "chat")
    assert outcome.finish_reason == "quality_floor"


def test_rules_see_the_pools(reception: Reception) -> None:
    deep = Snapshot(pools={"far": PoolSignals(queued=4)})
    for snapshot, rejected in ((CALM, False), (deep, True)):
        _, decision = reception.receive(1, arrival(), snapshot)
        assert decision is not None
        assert (decision.shaping.reject is not None) == rejected


def tokens(reception: Reception, asked: Arrival, holding: Holding | None = None) -> tuple[int, str]:
    more = () if holding is None else (holding,)
    outcome, decision = reception.receive(1, asked, CALM, *more)
    assert decision is not None
    card = reception.catalog.models[decision.shaping.model]
    return reception.answer_tokens(asked, decision, card, outcome), outcome.finish_reason


def test_an_answer_is_as_long_as_the_trace_says_or_as_a_cap_allows(reception: Reception) -> None:
    assert tokens(reception, arrival()) == (20, "")
    assert tokens(reception, arrival(prompt=6000)) == (7, "")
    (rung,) = reception.policy.intents["rest"].ladder
    holding = Holding(rungs={"rest": (HeldRung(action=1, rung=rung),)})
    assert tokens(reception, arrival(), holding) == (5, "")


def test_a_prompt_that_its_model_cannot_hold_is_declined(tmp_path: Path) -> None:
    config = TWO_MODELS.replace("quality: 0.9", "quality: 0.9, context: 100")
    reception = plan(tmp_path, config).reception()
    assert tokens(reception, arrival(prompt=99)) == (1, "")
    assert tokens(reception, arrival(prompt=100)) == (0, "context_length_exceeded")
