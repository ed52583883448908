"""Which promise a request falls under, and what a client's own objectives may do to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from contracts.catalog import Catalog
from contracts.inference import RequestFacts
from contracts.snapshot import Snapshot
from policies.decide import decide
from policies.intents import TPOT_HEADERS, TTFT_HEADERS, pick, tighten

TEXT = """
intents:
  - {name: by-default, match: {default: true}, objectives: {ttft_p95: 800ms, tpot_p95: 50ms}}
  - {name: by-model, match: {model: [small]}}
  - {name: by-key, match: {key: [web]}}
  - {name: by-header, match: {header: {X-Setpoint-Intent: special}}}
  - {name: for-tasks, match: {task: true}}
"""


def request(**fields: Any) -> RequestFacts:
    return RequestFacts(**{"operation": "chat", "model": "big", **fields})


@pytest.mark.req("INT-1")
@pytest.mark.parametrize(
    ("facts", "intent", "by"),
    [
        (request(), "by-default", "default"),
        (request(model="small"), "by-model", "model"),
        (request(model="small", key="web"), "by-key", "key"),
        (
            request(model="small", key="web", headers={"x-setpoint-intent": "special"}),
            "by-header",
            "header",
        ),
        (request(headers={"x-setpoint-intent": "SPECIAL"}), "by-default", "default"),
        (request(task=True), "for-tasks", "task"),
        (request(task=True, model="small", key="web"), "for-tasks", "task"),
        (
            request(task=True, headers={"x-setpoint-intent": "special"}),
            "by-header",
            "header",
        ),
    ],
)
def test_a_header_beats_a_task_beats_a_key_beats_a_model_beats_the_default(
    compiled: Any, catalog: Catalog, facts: RequestFacts, intent: str, by: str
) -> None:
    picked = pick(compiled(TEXT), catalog, facts)
    assert (picked.intent, picked.by) == (intent, by)


def test_the_configuration_can_give_a_key_its_intent(compiled: Any, catalog: Catalog) -> None:
    against = structs.replace(catalog, key_intents={"nightly": "by-model"})
    asked = request(key="nightly")
    picked = pick(compiled(TEXT, against=against), against, asked)
    assert (picked.intent, picked.by) == ("by-model", "key")
    assert "configuration" in picked.why(asked)


def test_without_an_intent_for_tasks_a_task_is_like_any_request(
    compiled: Any, catalog: Catalog
) -> None:
    policy = compiled(TEXT.replace("{task: true}", "{}"))
    assert pick(policy, catalog, request(task=True, key="web")).by == "key"
    assert pick(policy, catalog, request(task=True)).by == "default"


@pytest.mark.req("INT-1", "ADM-1")
@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (request(), "it did not come as a task"),
        (request(task=True), "it came as a task"),
        (
            request(task=True, headers={"x-setpoint-intent": "special"}),
            "it is for tasks, but another matches by header",
        ),
    ],
)
def test_of_the_intent_for_tasks_it_is_said_why(
    compiled: Any, catalog: Catalog, facts: RequestFacts, why: str
) -> None:
    told = decide(compiled(TEXT), catalog, facts, Snapshot(), explain=True).intents
    assert {outcome.intent: outcome.why for outcome in told}["for-tasks"] == why


@pytest.mark.req("INT-8", "ADM-1")
@pytest.mark.parametrize(
    ("headers", "ttft_s", "note"),
    [
        ({}, None, "a task has no first-token objective of its own"),
        ({"x-slo-ttft-ms": "300"}, 0.3, "tightened by x-slo-ttft-ms 300"),
        ({"x-slo-ttft-ms": "5000"}, 5.0, "tightened by x-slo-ttft-ms 5000"),  # nothing was promised
        ({"x-slo-ttft-ms": "soon"}, None, "a task has no first-token objective of its own"),
    ],
)
def test_a_task_has_no_first_token_objective_but_one_that_it_brings(
    compiled: Any, catalog: Catalog, headers: dict[str, str], ttft_s: float | None, note: str
) -> None:
    policy = compiled(TEXT.replace("{task: true}", "{}"))
    facts = request(task=True, headers=headers)
    decision = decide(policy, catalog, facts, Snapshot(), explain=True)
    assert decision.intent == "by-default"
    assert decision.constraints.ttft_s == ttft_s
    assert decision.constraints.tpot_s == 0.05
    assert note in next(told.why for told in decision.intents if told.chosen)


def test_without_a_match_nothing_is_promised(compiled: Any, catalog: Catalog) -> None:
    policy = compiled("intents: [{name: a, match: {key: [web]}}]")
    decision = decide(policy, catalog, request(), Snapshot(), explain=True)
    assert decision.intent == ""
    assert decision.constraints.objective is None
    assert [told.intent for told in decision.intents if told.chosen] == [""]


def test_the_explanation_says_of_every_intent_why(compiled: Any, catalog: Catalog) -> None:
    facts = request(key="web", model="small", headers={"x-setpoint-intent": "other\x1b"})
    told = {
        outcome.intent: outcome
        for outcome in decide(compiled(TEXT), catalog, facts, Snapshot(), explain=True).intents
    }
    assert [name for name, outcome in told.items() if outcome.chosen] == ["by-key"]
    assert told["by-header"].why == "header x-setpoint-intent is 'other\\x1b', not 'special'"
    assert told["by-model"].why == "the model fits, but another matches by key"
    assert told["by-default"].why == "it is the default, but another matches by key"


@pytest.mark.req("INT-8")
@pytest.mark.parametrize(
    ("headers", "ttft_s", "tpot_s"),
    [
        ({}, 0.8, 0.05),
        ({"x-llm-d-slo-ttft-ms": "300", "x-llm-d-slo-tpot-ms": "20"}, 0.3, 0.02),
        ({"x-slo-ttft-ms": "300", "x-slo-tpot-ms": "20.5"}, 0.3, 0.0205),
        ({"x-slo-ttft-ms": "5000"}, 0.8, 0.05),  # never loosened
        ({"x-llm-d-slo-ttft-ms": "500", "x-slo-ttft-ms": "100"}, 0.5, 0.05),  # canonical wins
        ({"x-llm-d-slo-ttft-ms": "fast", "x-slo-ttft-ms": "100"}, 0.1, 0.05),
        ({"x-slo-ttft-ms": "0"}, 0.8, 0.05),
        ({"x-slo-ttft-ms": "-5"}, 0.8, 0.05),
        ({"x-slo-ttft-ms": "nan"}, 0.8, 0.05),
        ({"x-slo-ttft-ms": "1e3"}, 0.8, 0.05),
        ({"x-slo-ttft-ms": "٣"}, 0.8, 0.05),
    ],
)
def test_a_client_may_tighten_its_objectives_and_never_loosen_them(
    compiled: Any, catalog: Catalog, headers: dict[str, str], ttft_s: float, tpot_s: float
) -> None:
    constraints = decide(compiled(TEXT), catalog, request(headers=headers), Snapshot()).constraints
    assert constraints.ttft_s == pytest.approx(ttft_s)
    assert constraints.tpot_s == pytest.approx(tpot_s)


def test_an_ignored_objective_says_why(compiled: Any, catalog: Catalog) -> None:
    headers = {"x-llm-d-slo-ttft-ms": "soon", "x-slo-ttft-ms": "9999"}
    decision = decide(compiled(TEXT), catalog, request(headers=headers), Snapshot(), explain=True)
    why = next(told.why for told in decision.intents if told.chosen)
    assert "x-llm-d-slo-ttft-ms 'soon' ignored: not a positive number" in why
    assert "x-slo-ttft-ms 9999 ignored: the promise of 800 is stricter" in why


@pytest.mark.req("INT-8")
@given(
    promised_s=st.one_of(st.none(), st.floats(0.001, 1000)),
    values=st.lists(st.one_of(st.text(max_size=12), st.integers(-5, 10**6).map(str)), max_size=2),
)
def test_an_objective_never_rises(promised_s: float | None, values: list[str]) -> None:
    for names in (TTFT_HEADERS, TPOT_HEADERS):
        found = tighten(promised_s, dict(zip(names, values, strict=False)), names).seconds
        assert found is None or found > 0
        if promised_s is not None:
            assert found is not None
            assert found <= promised_s
