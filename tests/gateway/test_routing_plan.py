"""From what was decided to a plan."""

from pathlib import Path

import msgspec
import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.decision import Decision, Shaping
from contracts.errors import NoReadyBackend
from contracts.inference import Constraints, RequestFacts
from contracts.snapshot import Snapshot
from gateway.configuration import load
from gateway.policy_files import SHIPPED, load_policies
from gateway.routing_plan import plan
from policies.decide import decide

ROUTED = """
pools:
  - {id: a, engine: llamacpp, endpoint: 'http://127.0.0.1:1'}
  - {id: b, engine: openai, endpoint: 'http://127.0.0.1:2'}
models:
  - {name: big, pool: a, quality: 0.9, context: 8192}
  - {name: other, pool: b, quality: 0.9}
routes:
  assistant: {targets: [big, other], resume: continue, hedge: {after: 2s, budget: 5%}}
  plain: [big, other]
"""


def test_a_plan_without_a_model_that_is_left_is_a_503() -> None:
    decision = Decision(
        intent="", shaping=Shaping(model="m"), models=("m",), constraints=Constraints()
    )
    with pytest.raises(NoReadyBackend):
        plan(decision, Catalog())


@pytest.mark.req("OPS-4")
def test_a_model_that_a_backend_lists_later_is_a_place_to_try() -> None:
    """What is worked out once for a catalogue is worked out anew for the one that replaces it."""
    decision = Decision(
        intent="", shaping=Shaping(model="m"), models=("m",), constraints=Constraints()
    )
    card = ModelCard(name="m", pool="p", upstream="u", context=9, prefill=True)
    catalog = msgspec.structs.replace(Catalog(), models={"m": card})
    (target,) = plan(decision, catalog).targets
    assert msgspec.structs.asdict(target) == {
        "model": "m",
        "pool": "p",
        "upstream": "u",
        "context": 9,
        "prefill": True,
    }


@pytest.mark.req("OPS-4")
def test_a_plan_is_kept_with_its_decision_and_its_catalogue() -> None:
    decision = Decision(
        intent="", shaping=Shaping(model="m"), models=("m", "n"), constraints=Constraints()
    )
    cards = {name: ModelCard(name=name, pool="p", upstream=name) for name in "mn"}
    both, one = Catalog(models=cards), Catalog(models={"n": cards["n"]})
    first = plan(decision, both)
    assert plan(decision, both) is first
    assert [target.model for target in plan(decision, one).targets] == ["n"]
    assert plan(decision, both) == first, "and not what the other catalogue led to"
    capped = msgspec.structs.replace(decision, shaping=Shaping(model="m", max_tokens=9))
    assert plan(capped, both).max_tokens == 9, "another decision has none yet"


@pytest.mark.req("RUN-7")
@pytest.mark.parametrize("rung_s", [None, 0.5])
def test_a_plan_has_what_its_route_says_and_the_rungs_hedge_goes_first(
    tmp_path: Path, rung_s: float | None
) -> None:
    file = tmp_path / "setpoint.yaml"
    file.write_text(ROUTED)
    catalog = load(file, env={}).catalog
    policy = load_policies(SHIPPED, catalog, {})
    facts = RequestFacts(operation="chat", model="assistant")
    decision = decide(policy, catalog, facts, Snapshot())
    decision = msgspec.structs.replace(decision, hedge_after_s=rung_s)
    found = plan(decision, catalog)
    assert [(t.model, t.context, t.prefill) for t in found.targets] == [
        ("assistant", 8192, True),
        ("other", None, False),
    ]
    assert (found.route, found.resume, found.hedge_budget) == ("assistant", "continue", 0.05)
    assert found.hedge_after_s == (2.0 if rung_s is None else rung_s)
    facts = msgspec.structs.replace(facts, model="plain")
    plain = plan(decide(policy, catalog, facts, Snapshot()), catalog)
    assert (plain.route, plain.resume, plain.hedge_after_s) == ("", "off", None)
    assert [t.model for t in plain.targets] == ["plain", "other"]
