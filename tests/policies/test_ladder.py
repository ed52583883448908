"""One intent's ladder: up on proof only, one rung at a time, judged, and down again in calm."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.control import MeasuredObjective
from contracts.policy import Rung
from policies.evidence import proves_violation
from policies.ladder import (
    CALM,
    CALM_TPOT,
    LEASE_S,
    Action,
    Climb,
    Descend,
    Judged,
    Ladder,
    Move,
    Stuck,
    View,
)
from policies.objectives import Objective
from policies.rung_memory import CALM_S, QUARANTINE_S, RELIEF, TRUST_S
from policies.rung_rules import CLIMB_CONFIDENCE, COST_RELIEF, KEPT_UNJUDGED
from policies.trial import Before, Trial

TTFT = Objective(name="ttft_p95", signal="ttft", target=1.0, allowed=0.05, quantile=0.95)
TPOT = Objective(name="tpot_p95", signal="tpot", target=0.05, allowed=0.05, quantile=0.95)
COST = Objective(name="cost_per_minute", signal="cost_per_minute", target=1.0, allowed=None)
RUNGS = [
    Rung("order"),
    Rung("hold_back"),
    Rung("switch_model", "small"),
    Rung("cap_tokens", 256),
    Rung("reduce_batching", 0.7),
    Rung("shed"),
]
TICK_S = 0.25


def seen(
    objective: Objective = TTFT,
    *,
    samples: int = 100,
    bad: int = 0,
    value: float | None = 0.3,
    severity: float | None = 0.3,
) -> MeasuredObjective:
    return MeasuredObjective(
        objective=objective.name,
        target=objective.target,
        value=value,
        samples=samples,
        bad=bad,
        severity=severity,
    )


BROKEN = seen(bad=40, value=3.0, severity=2.0)
KEPT = seen()


class Scene:
    """A ladder, driven tick by tick."""

    def __init__(self, *rungs: Rung, objectives: tuple[Objective, ...] = (TTFT, TPOT, COST)):
        self.ladder = Ladder(rungs or RUNGS, objectives, count(1).__next__)
        self.now_s = 1000.0
        self.load_rps = 10.0
        self.served_share = 1.0
        self.useless: dict[str, str] = {}
        self.usd_without: float | None = None

    def tick(self, *measured: MeasuredObjective, after_s: float = TICK_S) -> list[Move]:
        self.now_s += after_s
        self.ladder.renew(self.now_s)
        view = View(
            measured=measured or (KEPT,),
            load_rps=self.load_rps,
            served_share=self.served_share,
            why_not=lambda rung, objective: self.useless.get(rung.action, ""),
            cost_without=lambda action: self.usd_without,
        )
        moves = self.ladder.step(self.now_s, view)
        for move in moves:
            if isinstance(move, Climb) and not move.action.dry_run:
                before = Before(
                    late_share=0.4,
                    load_rps=self.load_rps,
                    own_rps=self.load_rps,
                    error_share=0.0,
                    usd_per_request=0.01,
                )
                move.action.trial = Trial(
                    move.action.objective, before, now_s=self.now_s, settle_s=1.0
                )
        return moves

    def climb(self, *measured: MeasuredObjective) -> Climb:
        """Two ticks of proof."""
        assert self.tick(*(measured or (BROKEN,))) == []
        (move,) = self.tick(*(measured or (BROKEN,)))
        assert isinstance(move, Climb)
        return move

    def judge(self, good: int, bad: int, *measured: MeasuredObjective) -> list[Move]:
        """So many requests since the pending action."""
        pending = self.ladder.pending
        assert pending is not None
        assert pending.trial is not None
        for nth in range(good + bad):
            pending.trial.saw(nth < bad, arrived_s=self.now_s + 5.0, held_out=False)
            pending.trial.ended(
                arrived_s=self.now_s + 5.0, failed=False, cut_short=False, usd=0.01, held_out=False
            )
        return self.tick(*measured, after_s=6.0)

    def confirmed(self) -> Action:
        action = self.climb().action
        (move,) = self.judge(60, 0)
        assert isinstance(move, Judged)
        assert move.verdict == "confirmed"
        return action

    def calm(self, seconds: float, *measured: MeasuredObjective) -> list[Move]:
        """Ticks until something happens, for so long at most."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            if moves := self.tick(*measured):
                return moves
        return []

    @property
    def held(self) -> list[str]:
        return [action.rung.action for action in self.ladder.held]


# -- up -----------------------------------------------------------------------------------


@pytest.mark.req("INT-4")
@pytest.mark.parametrize(
    "measured",
    [
        KEPT,
        seen(samples=19, bad=19, value=9.0, severity=2.0),  # too few to prove anything
        seen(samples=100, bad=5, value=1.0, severity=1.0),  # as many as are allowed
        seen(samples=100, bad=10, value=1.6, severity=1.6),  # proven to 95%, looked at for hours
        seen(samples=0, value=None, severity=None),  # nothing was measured
        seen(COST, samples=0, value=1.0, severity=1.0),
        seen(COST, samples=0, value=None, severity=None),
    ],
)
def test_without_proof_nothing_is_done(measured: MeasuredObjective) -> None:
    scene = Scene()
    assert scene.calm(120.0, measured) == []


def test_a_proof_must_hold_for_two_ticks() -> None:
    scene = Scene()
    for _ in range(5):
        assert scene.tick(BROKEN) == []
        assert scene.tick(KEPT) == []
    assert isinstance(scene.climb(), Climb)


def test_the_gentlest_rung_that_helps_the_violated_signal_is_taken() -> None:
    assert Scene().climb(BROKEN).action.rung.action == "order"
    assert Scene().climb(seen(TPOT, bad=40, severity=2.0)).action.rung.action == "hold_back"
    assert Scene().climb(seen(COST, value=1.01)).action.rung.action == "switch_model"


def test_of_several_violations_the_most_severe_is_acted_on() -> None:
    slow = seen(TPOT, bad=40, severity=1.9)
    move = Scene().climb(seen(bad=40, severity=1.2), slow, seen(COST, value=1.1, severity=1.1))
    assert move.seen == slow
    assert move.action.objective == TPOT


@pytest.mark.req("INT-7")
def test_a_rung_with_nothing_to_act_on_is_passed_over_with_its_reason() -> None:
    scene = Scene()
    scene.useless = {"order": "no two callers wait", "hold_back": "nobody below"}
    move = scene.climb()
    assert move.action.rung.action == "switch_model"
    assert move.passed_over == ("order: no two callers wait", "hold_back: nobody below")
    paced = scene.judge(60, 0), scene.climb(seen(TPOT, bad=40, severity=2.0))
    assert paced[1].passed_over == (
        "order: cannot help tpot",
        "hold_back: nobody below",
        "switch_model small: held already",
    )


def test_where_no_rung_can_help_that_is_said_once_an_episode() -> None:
    scene = Scene(Rung("order"), Rung("shed"))
    scene.useless = {"order": "no two callers wait", "shed": "nothing sheddable"}
    assert scene.tick(BROKEN) == []
    (stuck,) = scene.tick(BROKEN)
    assert stuck == Stuck(BROKEN, ("order: no two callers wait", "shed: nothing sheddable"))
    late = seen(samples=2, bad=1, value=1.5, severity=1.5)
    assert scene.calm(20.0, late) == []
    assert scene.calm(20.0, BROKEN) == [], "what is measured says that it has not ended"
    assert scene.calm(20.0, seen(samples=0, value=None, severity=None)) == []
    assert scene.calm(20.0, BROKEN) == [], "and silence says nothing"
    assert scene.calm(5.0, KEPT) == []
    assert [type(move) for move in scene.calm(5.0, BROKEN)] == [Stuck]


def test_as_soon_as_one_can_help_it_is_taken_all_the_same() -> None:
    scene = Scene(Rung("shed"))
    scene.useless = {"shed": "nothing sheddable"}
    scene.calm(10.0, BROKEN)
    scene.useless = {}
    (move,) = scene.tick(BROKEN)
    assert isinstance(move, Climb)


@pytest.mark.req("INT-6")
def test_nothing_else_is_taken_until_an_action_is_judged() -> None:
    scene = Scene()
    scene.climb()
    assert scene.calm(15.0, BROKEN) == []
    assert scene.held == ["order"]
    (judged,) = scene.judge(60, 0, BROKEN)
    assert isinstance(judged, Judged)
    assert scene.held == ["order"]
    assert isinstance(scene.tick(BROKEN)[0], Climb)


def test_a_rung_that_only_rehearses_is_never_judged_and_the_next_one_follows() -> None:
    scene = Scene(Rung("order", dry_run=True), Rung("hold_back"))
    assert scene.climb().action.dry_run
    assert scene.ladder.pending is None
    assert scene.climb().action.rung.action == "hold_back"
    assert scene.held == ["order", "hold_back"]


# -- judged -------------------------------------------------------------------------------


@pytest.mark.req("INT-6")
def test_a_confirmed_action_is_held_and_its_numbers_are_told() -> None:
    scene = Scene()
    action = scene.climb().action
    (move,) = scene.judge(60, 1)
    assert isinstance(move, Judged)
    assert (move.verdict, move.rolled_back, move.action) == ("confirmed", False, action)
    assert action.verdict == "confirmed"
    assert (move.numbers.samples, move.numbers.bad) == (61, 1)
    assert scene.held == ["order"]
    assert scene.calm(20.0, KEPT) == [], "judged once"


@pytest.mark.req("INT-6")
def test_without_effect_it_is_rolled_back_and_the_next_rung_is_taken_at_once() -> None:
    scene = Scene()
    first = scene.climb().action
    judged, climbed = scene.judge(10, 30, seen(samples=3, bad=3, severity=2.0))
    assert isinstance(judged, Judged)
    assert isinstance(climbed, Climb)
    assert (judged.verdict, judged.rolled_back) == ("no_effect", True)
    assert climbed.action.rung.action == "hold_back"
    assert climbed.escalates == first.number
    # The trial itself is the proof: the evidence of before is about the world of before.
    assert (climbed.seen.samples, climbed.seen.bad) == (40, 30)
    assert climbed.passed_over == ("order: did not help lately",)
    assert scene.held == ["hold_back"]


@pytest.mark.req("INT-4")
def test_without_effect_and_without_proof_nothing_follows_at_once() -> None:
    scene = Scene()
    scene.climb()
    pending = scene.ladder.pending
    assert pending is not None
    assert pending.trial is not None
    pending.objective = TPOT  # of which nothing is measured in this tick
    assert [type(move) for move in scene.judge(10, 30, KEPT)] == [Judged]
    assert scene.held == []


def test_a_rung_of_no_use_is_kept_off_for_ten_minutes_then_twenty() -> None:
    scene = Scene(Rung("order"))
    scene.climb()
    for quarantine_s in (QUARANTINE_S, 2 * QUARANTINE_S):
        scene.judge(10, 30)
        assert scene.held == []
        since_s = scene.now_s
        while not scene.held:
            scene.tick(BROKEN)
        assert scene.now_s - since_s == pytest.approx(quarantine_s, abs=1.0)


def test_a_rung_that_proved_of_use_is_kept_off_no_longer_than_a_new_one() -> None:
    scene = Scene(Rung("order"))
    scene.climb()
    scene.judge(10, 30)
    while not scene.held:
        scene.tick(BROKEN)
    scene.judge(60, 0)
    scene.load_rps = 0.0
    scene.calm(60.0, KEPT)
    scene.climb()
    scene.judge(10, 30)
    since_s = scene.now_s
    while not scene.held:
        scene.tick(BROKEN)
    assert scene.now_s - since_s == pytest.approx(QUARANTINE_S, abs=1.0)


def test_what_no_longer_is_too_dear_is_no_reason_to_go_on() -> None:
    scene = Scene()
    scene.climb(seen(COST, value=1.5, severity=1.5))
    pending = scene.ladder.pending
    assert pending is not None
    assert pending.trial is not None
    for _ in range(30):
        pending.trial.ended(
            arrived_s=scene.now_s + 5, failed=False, cut_short=False, usd=0.01, held_out=False
        )
    (move,) = scene.tick(seen(COST, value=0.9, severity=0.9), after_s=6.0)
    assert isinstance(move, Judged)
    assert move.action.verdict == "no_effect"
    scene.climb(seen(COST, value=1.5, severity=1.5))


@pytest.mark.req("INT-6")
def test_harm_is_rolled_back_at_once_and_nothing_is_put_in_its_place() -> None:
    scene = Scene()
    pending = scene.climb().action
    assert pending.trial is not None
    for _ in range(30):
        pending.trial.ended(
            arrived_s=scene.now_s + 5, failed=True, cut_short=False, usd=0.0, held_out=False
        )
        pending.trial.saw(True, arrived_s=scene.now_s + 5, held_out=False)
    (move,) = scene.tick(BROKEN)
    assert isinstance(move, Judged)
    assert (move.verdict, move.rolled_back) == ("harmful", True)
    assert scene.held == []


def test_a_fall_of_the_load_confounds_and_what_was_done_is_held() -> None:
    scene = Scene()
    scene.climb()
    scene.load_rps = 5.0
    (move,) = scene.judge(60, 0)
    assert isinstance(move, Judged)
    assert (move.verdict, move.rolled_back) == ("confounded", False)


@pytest.mark.parametrize("place", range(4))
def test_what_cannot_be_judged_is_held_only_on_the_gentlest_rungs(place: int) -> None:
    scene = Scene()
    for rung in RUNGS[:place]:
        scene.useless[rung.action] = "not here"
    scene.climb()
    moves = scene.calm(200.0, KEPT)
    (move,) = moves
    assert isinstance(move, Judged)
    assert move.verdict == "inconclusive"
    assert move.rolled_back is (place >= KEPT_UNJUDGED)


# -- down ---------------------------------------------------------------------------------


def test_in_calm_at_less_load_it_is_given_back_after_half_a_minute() -> None:
    scene = Scene()
    action = scene.confirmed()
    scene.load_rps = 10.0 * RELIEF
    assert scene.calm(100.0, seen(severity=CALM)) == []
    scene.load_rps = 5.0
    scene.calm(1.0, seen(severity=CALM + 0.1))
    (move,) = scene.calm(100.0, seen(severity=CALM))
    assert isinstance(move, Descend)
    assert move.action is action
    assert CALM_S <= move.calm_s < CALM_S + 2 * TICK_S
    assert move.load_rps == scene.load_rps
    assert scene.held == []


@pytest.mark.parametrize("severity", [CALM + 0.01, 2.0])
def test_without_room_to_spare_it_is_held(severity: float) -> None:
    scene = Scene()
    scene.confirmed()
    scene.load_rps = 1.0
    assert scene.calm(600.0, seen(severity=severity)) == []
    (move,) = scene.calm(60.0, KEPT)
    assert isinstance(move, Descend)


def test_calm_must_last() -> None:
    scene = Scene()
    scene.confirmed()
    scene.load_rps = 1.0
    for _ in range(5):
        assert scene.calm(CALM_S - 2.0, KEPT) == []
        assert scene.tick(seen(severity=CALM + 0.1)) == []


def test_a_promise_that_is_kept_because_of_an_action_is_no_reason_to_end_it() -> None:
    scene = Scene()
    scene.confirmed()
    assert scene.calm(TRUST_S - 60.0, KEPT) == []
    (move,) = scene.calm(120.0, KEPT)
    assert isinstance(move, Descend), "but nothing is believed for ever"


def test_something_else_that_is_only_just_kept_does_not_hold_an_action() -> None:
    scene = Scene()
    scene.confirmed()
    scene.load_rps = 1.0
    dear, slow = seen(COST, value=0.9, severity=0.9), seen(TPOT, severity=0.9)
    (move,) = scene.calm(60.0, KEPT, dear, slow)
    assert isinstance(move, Descend)


def test_tpot_that_is_steered_to_its_objective_is_calm_sooner() -> None:
    scene = Scene()
    scene.climb(seen(TPOT, bad=40, severity=2.0))
    scene.judge(60, 0)
    scene.load_rps = 1.0
    assert scene.calm(60.0, seen(TPOT, severity=CALM_TPOT + 0.01)) == []
    (move,) = scene.calm(60.0, seen(TPOT, severity=CALM_TPOT))
    assert isinstance(move, Descend)


def test_a_saving_is_not_given_back_while_the_dear_way_would_break_the_ceiling_again() -> None:
    scene = Scene()
    scene.climb(seen(COST, value=1.5, severity=1.5))
    pending = scene.ladder.pending
    assert pending is not None
    assert pending.trial is not None
    for _ in range(30):
        pending.trial.ended(
            arrived_s=scene.now_s + 5, failed=False, cut_short=False, usd=0.001, held_out=False
        )
    cheap = seen(COST, value=0.1, severity=0.1)
    assert [type(move) for move in scene.tick(cheap, after_s=6.0)] == [Judged]
    scene.load_rps, scene.usd_without = 1.0, COST_RELIEF + 0.01
    assert scene.calm(300.0, cheap) == []
    scene.usd_without = COST_RELIEF
    (move,) = scene.calm(60.0, cheap)
    assert isinstance(move, Descend)
    assert move.usd == COST_RELIEF


def test_the_newest_goes_first_and_one_at_a_time() -> None:
    scene = Scene()
    for _ in range(3):
        scene.confirmed()
    scene.load_rps = 1.0
    order = []
    for _ in range(3):
        before_s = scene.now_s
        (move,) = scene.calm(100.0, KEPT)
        assert isinstance(move, Descend)
        order.append(move.action.rung.action)
        assert scene.now_s - before_s >= CALM_S
    assert order == ["switch_model", "hold_back", "order"]


def test_whether_the_newest_may_go_is_a_matter_of_its_own_load() -> None:
    scene = Scene()
    scene.load_rps = 5.0
    scene.confirmed()
    assert scene.calm(31.0, seen(severity=0.8)) == []
    scene.load_rps = 50.0
    newest = scene.confirmed()
    scene.load_rps = 20.0
    (move,) = scene.calm(60.0, KEPT)
    assert isinstance(move, Descend)
    assert move.action is newest
    assert scene.calm(300.0, KEPT) == []


def test_while_something_is_broken_nothing_is_given_back() -> None:
    scene = Scene(Rung("order"))
    scene.confirmed()
    scene.load_rps = 1.0
    slow = seen(TPOT, bad=60, severity=2.0)
    assert all(isinstance(move, Stuck) for move in scene.calm(200.0, KEPT, slow))
    assert scene.held == ["order"]


def test_flapping_doubles_patience_and_is_counted() -> None:
    scene = Scene()
    waited = []
    for _ in range(3):
        scene.load_rps = 10.0
        scene.confirmed()
        scene.load_rps = 1.0
        since_s = scene.now_s
        scene.calm(1000.0, KEPT)
        waited.append(scene.now_s - since_s)
    assert waited == pytest.approx([CALM_S, 2 * CALM_S, 4 * CALM_S], abs=1.0)
    assert scene.ladder.flaps == 2


def test_the_load_of_the_half_minute_after_a_step_is_what_a_rung_was_needed_at() -> None:
    """What is counted over thirty seconds is half of what it will be, five seconds after a doubling."""
    scene = Scene()
    scene.load_rps = 5.0
    scene.confirmed()
    scene.load_rps = 11.0
    assert scene.calm(20.0, seen(severity=0.8)) == []
    assert scene.calm(20.0, seen(severity=0.8)) == []
    scene.load_rps = 50.0
    assert scene.calm(60.0, seen(severity=0.8)) == [], "what comes later says nothing of the need"
    scene.load_rps = 9.5
    assert scene.calm(60.0, KEPT) == []
    scene.load_rps = 6.0
    (move,) = scene.calm(60.0, KEPT)
    assert isinstance(move, Descend)
    assert move.needed_rps == 11.0


def test_a_rung_that_proved_necessary_is_taken_again_without_trying_gentler_ones() -> None:
    scene = Scene(Rung("order"), Rung("switch_model", "small"))
    scene.useless["order"] = "no two callers wait"
    scene.confirmed()
    scene.load_rps = 1.0
    scene.calm(60.0, KEPT)
    assert scene.held == []
    scene.useless.clear()
    scene.load_rps = 10.0
    again = scene.climb()
    assert again.action.rung.action == "switch_model"
    assert again.passed_over == ("order: switch_model small proved necessary lately",)


def test_where_the_necessary_one_cannot_be_taken_gentler_ones_are_tried() -> None:
    scene = Scene(Rung("order"), Rung("switch_model", "small"))
    scene.useless["order"] = "no two callers wait"
    scene.confirmed()
    scene.load_rps = 1.0
    scene.calm(60.0, KEPT)
    scene.useless = {"switch_model": "no backend lists small"}
    assert scene.climb().action.rung.action == "order"


def test_a_load_that_comes_after_the_next_rung_says_nothing_of_the_one_before() -> None:
    scene = Scene()
    scene.load_rps = 5.0
    scene.confirmed()
    scene.climb()
    scene.load_rps = 50.0
    scene.judge(60, 0, seen(severity=0.8))
    scene.load_rps = 1.0
    needed = [move.needed_rps for _ in range(2) for move in scene.calm(90.0, KEPT)]
    assert needed == [50.0, 5.0]


def test_long_after_it_was_given_back_gentler_rungs_come_first_again() -> None:
    scene = Scene(Rung("order"), Rung("switch_model", "small"))
    scene.useless["order"] = "no two callers wait"
    scene.confirmed()
    scene.load_rps = 1.0
    scene.calm(60.0, KEPT)
    scene.useless.clear()
    scene.now_s += 10_000.0
    assert scene.climb().action.rung.action == "order"


def test_a_rehearsed_rung_is_given_back_in_calm_whatever_the_load() -> None:
    scene = Scene(Rung("order", dry_run=True))
    scene.climb()
    (move,) = scene.calm(60.0, KEPT)
    assert isinstance(move, Descend)


# -- leases -------------------------------------------------------------------------------


def test_what_nobody_renews_lapses() -> None:
    scene = Scene()
    action = scene.confirmed()
    renewed_s = scene.now_s
    assert scene.ladder.lapsed(renewed_s + LEASE_S - 0.01) == []
    assert scene.ladder.lapsed(renewed_s + LEASE_S) == [action]
    assert scene.held == []
    assert scene.ladder.lapsed(renewed_s + 2 * LEASE_S) == []


# -- for every history --------------------------------------------------------------------


@st.composite
def measurements(draw: st.DrawFn, objective: Objective) -> MeasuredObjective:
    samples = draw(st.sampled_from([0, 19, 20, 60, 200]))
    severity = draw(st.sampled_from([None, 0.2, 0.7, 1.0, 2.0]))
    return seen(
        objective,
        samples=samples,
        bad=int(samples * draw(st.sampled_from([0.0, 0.05, 0.1, 0.3, 1.0]))),
        value=None if severity is None else severity * objective.target,
        severity=severity,
    )


STEPS = st.lists(
    st.tuples(
        st.tuples(measurements(TTFT), measurements(TPOT)),
        st.integers(1, 40),  # ticks that it lasts
        st.tuples(st.integers(0, 60), st.integers(0, 60)),  # good and bad ones of the trial
        st.integers(0, 20),  # load
    ),
    max_size=15,
)


@pytest.mark.req("INT-4", "INT-6")
@given(steps=STEPS, useless=st.sets(st.sampled_from([rung.action for rung in RUNGS])))
def test_what_holds_for_every_history(steps: list[Any], useless: set[str]) -> None:
    scene = Scene(objectives=(TTFT, TPOT))
    scene.useless = dict.fromkeys(useless, "not here")
    for measured, ticks, (good, bad), load in steps:
        scene.load_rps = float(load)
        for _ in range(ticks):
            before = list(scene.ladder.held)
            pending = scene.ladder.pending
            if pending is not None and pending.trial is not None:
                for nth in range(good + bad):
                    pending.trial.saw(nth < bad, arrived_s=scene.now_s + 5, held_out=False)
            moves = scene.tick(*measured)
            _check(scene, moves, before, pending)


def _check(scene: Scene, moves: list[Move], before: list[Action], pending: Action | None) -> None:
    held = scene.ladder.held
    assert sum(action.unjudged for action in held) <= 1, "one unverified action"
    assert len({action.index for action in held}) == len(held)
    assert all(action.lease_until_s == scene.now_s + LEASE_S for action in held)
    changes = len(set(held) ^ set(before))
    assert changes <= (2 if any(isinstance(m, Climb) and m.escalates for m in moves) else 1)
    for move in moves:
        if isinstance(move, Climb):
            allowed = move.action.objective.allowed
            assert allowed is not None
            sure = 0.95 if move.escalates else CLIMB_CONFIDENCE
            assert proves_violation(move.seen.samples, move.seen.bad, allowed, sure)
            assert move.action.rung.action not in scene.useless
            gentler = [rung.action for rung in RUNGS[: move.action.index]]
            assert [reason.split(":")[0].split()[0] for reason in move.passed_over] == gentler
        if isinstance(move, Descend):
            assert pending is None
            assert move.action is before[-1]
