"""A rival's law in front of the same engines: one limit a model, kept from the moment that it has it."""

from pathlib import Path

import pytest

from gateway.simulation.engines import Engines
from gateway.simulation.outcome import Outcome
from gateway.simulation.plan import Plan
from gateway.simulation.rival_body import RivalBody
from gateway.simulation.run import run
from gateway.simulation.world import World
from tests.fakes.simulated import ONE_MODEL, PROMISE, TWO_MODELS, plan_of, requests

pytestmark = pytest.mark.req("INT-12")


class Script:
    """A rival whose limit is told by the number of ticks, or by that of ended requests."""

    name = "script"
    ttl_s: float | None = None

    def __init__(self, *, by_tick: bool, deadline_aware: bool = False) -> None:
        self.deadline_aware = deadline_aware
        self.limit = 1.0
        self.seen: list[tuple[str, float, int]] = []
        self._by_tick = by_tick

    def started(self, now_s: float, inflight: int) -> None:
        self.seen.append(("started", now_s, inflight))

    def finished(self, now_s: float, rtt_s: float, inflight: int, ok: bool) -> None:
        self.seen.append(("finished", rtt_s, inflight))
        if not self._by_tick:
            self.limit = 3.0

    def tick(self, now_s: float) -> None:
        if self._by_tick:
            self.limit += 1.0


def simulate(plan: Plan, script: Script) -> list[Outcome]:
    engines = Engines(plan.settings)
    world = World(
        plan.arrivals, RivalBody(lambda: script, plan.reception(), plan.settings), engines
    )
    world.run()
    return world.outcomes


def test_a_limit_that_grows_with_time_lets_in_who_waits_and_each_is_served(tmp_path: Path) -> None:
    # Each takes 2 s and more; one place more every 250 ms.
    plan = plan_of(tmp_path, requests(*[0.0] * 4, output=101))
    outcomes = simulate(plan, Script(by_tick=True))
    assert [outcome.queued_s for outcome in outcomes] == [0.0, 0.25, 0.5, 0.75]
    assert {outcome.fate for outcome in outcomes} == {"served"}


def test_a_limit_that_an_answers_end_has_raised_holds_for_its_place(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, requests(*[0.0] * 4))
    outcomes = simulate(plan, Script(by_tick=False))
    assert [outcome.queued_s for outcome in outcomes] == pytest.approx([0.0, 0.22, 0.22, 0.22])


def test_a_rival_is_told_what_became_of_what_ran(tmp_path: Path) -> None:
    script = Script(by_tick=False)
    simulate(plan_of(tmp_path, requests(0.0, 0.1)), script)
    assert [seen[0] for seen in script.seen] == ["started", "finished", "started", "finished"]
    assert [seen[2] for seen in script.seen] == [1, 1, 1, 1]
    # From its dispatch on, not from its arrival.
    assert script.seen[3][1] == pytest.approx(0.22)


def test_a_deadline_aware_rival_drops_who_will_be_late_and_another_serves_all(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path, requests(0.0, 0.0, output=101))
    for aware, fates in ((True, ["served", "dropped"]), (False, ["served", "served"])):
        outcomes = simulate(plan, Script(by_tick=False, deadline_aware=aware))
        assert [outcome.fate for outcome in outcomes] == fates


def test_each_model_has_a_limit_of_its_own(tmp_path: Path) -> None:
    arrivals = [*requests(0.0, 0.0, model="big"), *requests(0.0, 0.0, model="small")]
    plan = plan_of(tmp_path, arrivals, config=TWO_MODELS, controller="static:1")
    outcomes = run(plan).outcomes
    assert [outcome.queued_s for outcome in outcomes] == pytest.approx([0.0, 0.22, 0.0, 0.0545])


def test_priorities_and_ladders_mean_nothing_to_a_rival(tmp_path: Path) -> None:
    policies = PROMISE + "  - {name: first, priority: 9, ladder: [order, shed]}\n"
    arrivals = [*requests(0.0, 0.0), *requests(0.0, intent="first")]
    plan = plan_of(tmp_path, arrivals, policies=policies, controller="static:1")
    result = run(plan)
    waits = [outcome.queued_s for outcome in result.outcomes]
    assert waits == sorted(waits, key=lambda wait: wait or 0.0)
    assert [outcome.intent for outcome in result.outcomes] == ["chat", "chat", "first"]
    assert result.decisions == []


@pytest.mark.req("INT-2")
def test_rules_hold_for_rivals_too(tmp_path: Path) -> None:
    rules = """\
rules:
  - {name: short, when: request.prompt_tokens > 500, then: {max_tokens: 3}}
  - {name: far, when: request.prompt_tokens > 900, then: {model: small}}
  - {name: no, when: pools.sim.queued > 0, then: {reject: {}}}
"""
    arrivals = [*requests(0.0, prompt=600), *requests(0.0, prompt=1000), *requests(0.0, 0.0)]
    plan = plan_of(
        tmp_path, arrivals, config=TWO_MODELS, policies=PROMISE + rules, controller="static:1"
    )
    told = [(o.fate, o.model, o.output_tokens, o.finish_reason) for o in run(plan).outcomes]
    assert told == [
        ("served", "big", 3, "length"),
        ("served", "small", 3, "length"),
        ("served", "big", 11, "stop"),
        ("refused", "big", None, "rejected_by_policy"),
    ]


def test_a_rival_can_be_looked_at(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [], config=TWO_MODELS)
    body = RivalBody(lambda: Script(by_tick=True), plan.reception(), plan.settings)
    for nth in range(3):
        _, asked = body.ask(nth, *requests(0.0), 0.0)
        assert asked is not None
        asked.queue.offer(asked.ticket, 0.0)
    seen = body.sight(0.0)
    assert (seen.inflight, seen.waiting, seen.rungs) == (1, 2, {})
    assert seen.limits == {("sim", "big"): 1.0, ("far", "small"): 1.0}
    assert body.flaps == 0


def test_without_a_limit_there_is_none_to_look_at(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, requests(*[0.0] * 20), config=ONE_MODEL, controller="none")
    result = run(plan, watch=True)
    assert {outcome.queued_s for outcome in result.outcomes} == {0.0}
    assert result.samples[0][1].limits == {}
