"""Recorded executions as the arrivals of a simulation."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration import load
from gateway.policy_files import load_policies
from gateway.simulation.recorded_arrivals import Gathered, Gatherer
from gateway.simulation.trace import Arrival
from tests.fakes.simulated import TWO_MODELS, files

pytestmark = pytest.mark.req("INT-12")
CONFIG = f"{TWO_MODELS}auth: {{keys: [{{name: ann, token: anns-own-token}}]}}\n"
POLICIES = """\
intents:
  - name: chat
    match: {default: true}
  - name: batch
    match: {header: {x-intent: batch}, task: true}
  - name: vip
    match: {key: [ann]}
"""


def execution(accepted_s: float = 1000.0, **members: Any) -> dict[str, Any]:
    """As `ExecutionStore.traffic` gives it. `facts` are added to those that every request has."""
    facts = {"operation": "chat", "model": "big", "prompt_tokens": 7, "key": "web"}
    facts |= members.pop("facts", {})
    return {
        "accepted_s": accepted_s,
        "operation": "chat",
        "model": facts["model"],
        "outcome": "completed",
        "prompt_tokens": 90,
        "completion_tokens": 20,
        "facts": facts,
    } | members


REFUSED: dict[str, Any] = {"outcome": "refused", "prompt_tokens": None, "completion_tokens": None}


@pytest.fixture(scope="module")
def gatherer_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = files(tmp_path_factory.mktemp("plan"), CONFIG, POLICIES)
    config = load(path, env={})
    policy = load_policies(config.policies_path, config.catalog, {})
    return lambda: Gatherer(policy, config.catalog)


@pytest.fixture
def gather(gatherer_of: Any) -> Any:
    def run(*rows: dict[str, Any]) -> Gathered:
        gatherer: Gatherer = gatherer_of()
        gatherer.add(rows)
        return gatherer.gathered()

    return run


def test_a_request_comes_when_it_came_from_whom_and_for_what(gather: Any) -> None:
    found = gather(
        execution(1000.5), execution(1002.0, facts={"model": "small", "key": ""}), execution(1002.0)
    )
    assert found.arrivals == [
        Arrival(0.0, 90, 20, "web", "chat", "big"),
        Arrival(1.5, 90, 20, "", "chat", "small"),
        Arrival(1.5, 90, 20, "web", "chat", "big"),
    ]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("facts", "intent"),
    [
        ({"headers": {"x-intent": "batch"}}, "batch"),
        ({"headers": {"x-intent": "something"}}, "chat"),
        ({"task": True}, "batch"),
        ({"key": "ann"}, "vip"),
        ({"key": "ann", "headers": {"x-intent": "batch"}}, "batch"),
    ],
)
def test_the_intent_is_what_todays_policies_pick_for_its_headers_and_caller(
    gather: Any, facts: dict[str, Any], intent: str
) -> None:
    assert gather(execution(facts=facts)).arrivals[0].intent == intent


def test_who_was_refused_was_load_too(gather: Any) -> None:
    found = gather(
        execution(completion_tokens=10),
        execution(completion_tokens=30),
        execution(completion_tokens=32),
        execution(facts={"model": "small"}, completion_tokens=4),
        execution(**REFUSED),
        execution(**REFUSED, facts={"max_tokens": 16}),
        execution(outcome="cancelled", completion_tokens=2),
        execution(**REFUSED, facts={"model": "small", "prompt_tokens": 9}),
    )
    told = [(a.input_tokens, a.output_tokens) for a in found.arrivals[4:]]
    assert told == [(7, 30), (7, 16), (90, 30), (9, 4)]
    assert found.notes == (
        "4 of 8 requests had no whole answer: the median length of their model's answers is taken for theirs",
    )


def test_what_cannot_be_simulated_is_left_out_and_told(gather: Any) -> None:
    found = gather(
        execution(900.0, outcome="invalid"),
        execution(901.0, operation="embedding"),
        execution(902.0, facts={"model": "huge"}),
        execution(903.0, facts={"model": "vast"}),
        execution(904.0, facts={"model": "huge"}),
        execution(1000.0),
    )
    assert [a.arrival_s for a in found.arrivals] == [0.0]
    assert found.notes == (
        "left out: 1 embeddings",
        "left out: 1 requests that were at fault themselves",
        "left out: 3 for models that are not simulated (2 'huge', 1 'vast')",
    )


def test_of_many_models_that_are_left_out_the_commonest_are_named(gather: Any) -> None:
    strange = [execution(facts={"model": f"m{n}"}) for n in range(20)]
    found = gather(*strange, execution(facts={"model": "m7"}), execution())
    (note,) = found.notes
    assert note.startswith("left out: 21 for models that are not simulated (2 'm7', 1 ")
    assert note.endswith(", and 15 others)")


def test_nothing_gives_nothing(gather: Any) -> None:
    assert gather() == Gathered(arrivals=[], notes=())


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from(["completed", "refused", "failed", "cancelled"]),
            st.none() | st.integers(0, 50),
        ),
        max_size=20,
    )
)
def test_every_arrival_is_fit_for_a_simulation(
    gatherer_of: Any, executions: list[tuple[int, str, int | None]]
) -> None:
    rows = [
        execution(float(at_s), outcome=outcome, completion_tokens=tokens)
        for at_s, outcome, tokens in sorted(executions, key=lambda told: told[0])
    ]
    gatherer: Gatherer = gatherer_of()
    for row in rows:
        gatherer.add([row])
    arrivals = gatherer.gathered().arrivals
    assert len(arrivals) == len(rows)
    assert [a.arrival_s for a in arrivals] == sorted(a.arrival_s for a in arrivals)
    assert all(a.arrival_s >= 0 and a.input_tokens >= 1 and a.output_tokens >= 1 for a in arrivals)
