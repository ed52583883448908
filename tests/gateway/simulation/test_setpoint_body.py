"""Setpoint's own brain in the simulator: what it is given, and what it makes of it."""

from pathlib import Path

import msgspec
import pytest

from contracts.policy import Rung
from contracts.quantities import Share
from gateway.endpoint import SLOTS_UNKNOWN as GATEWAYS_SLOTS_UNKNOWN
from gateway.simulation.bodies import Asked
from gateway.simulation.engines import Engines
from gateway.simulation.outcome import Outcome
from gateway.simulation.plan import Plan
from gateway.simulation.run import run
from gateway.simulation.setpoint_body import SLOTS_UNKNOWN, SetpointBody
from gateway.simulation.trace import Arrival, merged
from gateway.simulation.traffic import poisson
from policies.held import Decline, Holding
from tests.fakes.simulated import ONE_MODEL, PROMISE, TWO_MODELS, plan_of, requests

pytestmark = pytest.mark.req("INT-12")


def body_of(plan: Plan) -> SetpointBody:
    return SetpointBody(plan.reception(), plan.pools, Engines(plan.settings), plan.weights)


def asked_of(plan: Plan, arrival: Arrival) -> Asked:
    _, asked = body_of(plan).ask(1, arrival, arrival.arrival_s)
    assert asked is not None
    return asked


@pytest.mark.parametrize(
    ("changes", "deadline_s"),
    [("", 10.5), (", late: serve", None), (", dry_run: true", None)],
)
def test_a_request_is_due_when_it_was_promised_unless_late_ones_are_served(
    tmp_path: Path, changes: str, deadline_s: float | None
) -> None:
    policies = f"intents: [{{name: a, match: {{default: true}}, objectives: {{ttft_p95: 500ms}}{changes}}}]"
    plan = plan_of(tmp_path, [], policies=policies)
    assert asked_of(plan, *requests(10.0)).ticket.deadline_s == deadline_s


def test_a_request_goes_to_the_queue_of_its_pool_and_the_lane_of_its_model(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [], config=TWO_MODELS)
    body = body_of(plan)
    for nth, (model, pool) in enumerate((("big", "sim"), ("small", "far"))):
        _, asked = body.ask(nth, *requests(0.0, model=model), 0.0)
        assert asked is not None
        assert asked.queue is body.queues[nth]
        assert asked.lane == (pool, model)
        assert asked.ticket.lane == model


def test_a_callers_weight_is_the_configurations(tmp_path: Path) -> None:
    config = "auth: {keys: [{name: web, token: t, weight: 3}]}\n" + ONE_MODEL
    plan = plan_of(tmp_path, [], config=config)
    assert asked_of(plan, *requests(0.0, tenant="web")).ticket.weight == 3.0
    assert asked_of(plan, *requests(0.0, tenant="other")).ticket.weight == 1.0


def test_a_pool_has_the_bounds_of_the_gateways(tmp_path: Path) -> None:
    assert SLOTS_UNKNOWN == GATEWAYS_SLOTS_UNKNOWN
    queue = "{max_requests: 7, timeout: 9s}"
    config = ONE_MODEL.replace("engine: llmd,", f"engine: llmd, max_inflight: 5, queue: {queue},")
    (told,) = body_of(plan_of(tmp_path, [], config=config)).queues
    assert (told.settings.limit, told.settings.max_waiting, told.settings.timeout_s) == (5, 7, 9.0)
    config = ONE_MODEL.replace("max_num_seqs", "replicas: 2, max_num_seqs")
    (told,) = body_of(plan_of(tmp_path, [], config=config)).queues
    assert told.settings.limit == 2 * SLOTS_UNKNOWN


REJECTING = PROMISE + "rules: [{name: no, when: pool.queued > 0, then: {reject: {}}}]"


@pytest.mark.req("INT-2")
def test_a_rule_sees_the_queue_and_refuses(tmp_path: Path) -> None:
    config = ONE_MODEL.replace("engine: llmd,", "engine: llmd, max_inflight: 1,")
    plan = plan_of(tmp_path, requests(0.0, 0.0, 0.0), config=config, policies=REJECTING)
    outcomes = run(plan).outcomes
    assert [outcome.fate for outcome in outcomes] == ["served", "served", "refused"]
    assert outcomes[2].finish_reason == "rejected_by_policy"


def test_what_the_loop_declines_was_shed(tmp_path: Path) -> None:
    policies = PROMISE + "  - {name: batch, priority: -5}\n"
    plan = plan_of(tmp_path, [], policies=policies)
    body = body_of(plan)
    decline = Decline(
        action=1, rung=Rung("refuse"), intent="chat", below=0, pools=frozenset({"sim"})
    )
    body.loop.holding = Holding(declines=(decline,))
    fates = []
    for nth, intent in enumerate(("batch", "chat")):
        outcome, asked = body.ask(nth, *requests(0.0, intent=intent), 0.0)
        fates.append((outcome.fate, outcome.finish_reason, asked is None))
    assert fates == [("shed", "shed", True), ("cancelled", "", False)]


def test_a_body_can_be_looked_at(tmp_path: Path) -> None:
    config = ONE_MODEL.replace("engine: llmd,", "engine: llmd, max_inflight: 1,")
    body = body_of(plan_of(tmp_path, [], config=config))
    for nth in range(3):
        _, asked = body.ask(nth, *requests(0.0), 0.0)
        assert asked is not None
        asked.queue.offer(asked.ticket, 0.0)
    seen = body.sight(0.0)
    assert (seen.inflight, seen.waiting) == (1, 2)
    assert seen.limits == {("sim", "big"): 1.0}
    assert seen.rungs == {"chat": 0}


LADDER = """\
intents:
  - name: chat
    match: {header: {x-intent: chat}, default: true}
    objectives: {ttft_p95: 500ms, tpot_p95: 50ms}
    priority: 10
    quality_floor: 0.6
    ladder: [{switch_model: small}, shed]
  - {name: batch, match: {header: {x-intent: batch}}, priority: -10}
"""


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[Outcome], list[str]]:
    """Chat at twice what the big model's engine can do, and a third of what the small one's can."""
    arrivals = merged(
        poisson(10.0, 60.0, 1, output=(3.0, 0.5), intent="chat"),
        poisson(1.0, 60.0, 2, output=(3.0, 0.5), intent="batch"),
    )
    folder = tmp_path_factory.mktemp("overloaded")
    plan = plan_of(folder, arrivals, config=TWO_MODELS, policies=LADDER)
    result = run(plan)
    return plan, list(result.outcomes), [decision.words for decision in result.decisions]


@pytest.mark.req("INT-6", "INT-10")
def test_under_overload_the_ladder_takes_requests_to_the_other_models_engine(
    overloaded: tuple[Plan, list[Outcome], list[str]],
) -> None:
    _, outcomes, words = overloaded
    assert any(told.startswith("switched model big -> small for chat") for told in words)
    served = {(o.intent, o.model) for o in outcomes if o.fate == "served"}
    assert ("chat", "small") in served
    assert ("batch", "small") not in served
    late = [o.ttft_s is None or o.ttft_s > 0.5 for o in outcomes if o.intent == "chat"]
    assert sum(late[-300:]) < 5 < sum(late[:300])


@pytest.mark.req("INT-6")
def test_what_was_done_is_judged(overloaded: tuple[Plan, list[Outcome], list[str]]) -> None:
    _, _, words = overloaded
    assert any("confirmed: " in told for told in words)


@pytest.mark.req("INT-11")
def test_the_floor_holds_whatever_the_ladder_would_like(
    overloaded: tuple[Plan, list[Outcome], list[str]], tmp_path: Path
) -> None:
    plan, _, _ = overloaded
    # A ladder that names a model below its floor does not load; a rating may fall afterwards.
    held = plan_of(tmp_path, plan.arrivals, config=TWO_MODELS, policies=LADDER).policy
    strict = {
        name: msgspec.structs.replace(intent, quality_floor=Share(0.8))
        for name, intent in held.intents.items()
    }
    told = run(
        msgspec.structs.replace(plan, policy=msgspec.structs.replace(held, intents=strict))
    ).outcomes
    assert {outcome.model for outcome in told if outcome.intent == "chat"} == {"big"}
