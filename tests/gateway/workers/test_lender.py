"""The hub's side of a loan: what is said to whom, and when whoever asked is answered."""

import msgspec
import pytest

from gateway.workers.lender import ASK_S, GRACE_S, OWN_S, Lender
from gateway.workers.messages import DAY, Answered, Back, Grant, Recalled, Wants
from policies.usage_window import DAY_S

pytestmark = pytest.mark.req("OPS-9")


class Scene:
    def __init__(self, expected: tuple[int, ...] = (), unix_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.said: list[tuple[int, msgspec.Struct]] = []
        self.lender = Lender(
            lambda worker, message: self.said.append((worker, message)),
            clock=lambda: self.now_s,
            wall_clock=lambda: unix_s + self.now_s,
            expected=expected,
        )

    def heard(self) -> list[tuple[int, msgspec.Struct]]:
        said, self.said = self.said, []
        return said

    def wants(self, worker: int, units: int, pot: str = "pool:p", **more: object) -> None:
        bands = {0: units} if units else {}
        self.lender.hear(worker, Wants(pot, "m", bands, **more))  # type: ignore[arg-type]  # by name


def test_a_worker_is_lent_what_it_needs_of_a_pool() -> None:
    scene = Scene()
    scene.lender.bound("pool:p", 5, {"m": 3})
    scene.wants(0, 4)
    assert scene.heard() == [(0, Grant("pool:p", "m", 3))]


def test_whoever_asks_is_answered_when_the_others_have_said_what_they_can_spare() -> None:
    scene = Scene()
    scene.wants(0, 0, "budget:0:x", total=10, spare=8)
    scene.wants(1, 4, "budget:0:x", total=10, ask=7)
    said = scene.heard()
    assert said[:2] == [(0, Grant("budget:0:x", "m", 8)), (1, Grant("budget:0:x", "m", 2))]
    assert said[2:] == [(0, Recalled("budget:0:x", "m", 6, 1))]
    scene.lender.hear(0, Back("budget:0:x", "m", 2, 1))
    assert scene.heard() == [
        (1, Grant("budget:0:x", "m", 2)),
        (0, Recalled("budget:0:x", "m", None, 2)),
        (1, Answered(7)),
    ]


def test_whoever_asks_in_vain_is_answered_too() -> None:
    scene = Scene()
    scene.wants(0, 10, "budget:0:x", total=10)
    scene.wants(1, 4, "budget:0:x", total=10, ask=7)
    scene.heard()
    scene.lender.hear(0, Back("budget:0:x", "m", 0, 1))
    assert scene.heard() == [(1, Answered(7))]


def test_a_holder_that_does_not_answer_keeps_nobody_waiting() -> None:
    scene = Scene()
    scene.wants(0, 10, "budget:0:x", total=10)
    scene.wants(1, 4, "budget:0:x", total=10, ask=7)
    scene.heard()
    scene.now_s += ASK_S
    scene.lender.step_all()
    assert (1, Answered(7)) in scene.heard()


def test_nothing_is_lent_before_all_who_live_have_said_what_they_have() -> None:
    scene = Scene(expected=(0, 1))
    scene.lender.bound("pool:p", 5, {})
    scene.lender.joined(0, {"pool:p": {"m": 2}}, again=False)
    scene.wants(0, 5)
    assert scene.heard() == []
    scene.lender.joined(1, {"pool:p": {"m": 2}}, again=False)
    assert scene.heard()[0] == (0, Grant("pool:p", "m", 1))


@pytest.mark.parametrize(
    ("pot", "window_s", "held_s"),
    [("pool:p", 0.0, GRACE_S), ("budget:0:x", 60.0, 60.0), ("budget:0:x", DAY, DAY_S - 1000)],
)
def test_what_the_dead_had_is_free_when_it_is_used_no_more(
    pot: str, window_s: float, held_s: float
) -> None:
    scene = Scene(unix_s=5 * DAY_S + 1000)
    scene.wants(0, 4, pot, total=4, window_s=window_s)
    scene.lender.gone(0)
    scene.wants(1, 4, pot, total=4, window_s=window_s)
    scene.heard()
    scene.now_s = held_s - 0.1
    scene.lender.step_all()
    assert scene.heard() == []
    scene.now_s = held_s
    scene.lender.step_all()
    assert scene.heard() == [(1, Grant(pot, "m", 4))]


def test_a_worker_that_was_only_cut_off_has_what_it_had() -> None:
    scene = Scene()
    scene.wants(0, 3, "budget:0:x", total=4, window_s=60.0)
    scene.lender.gone(0)
    scene.lender.joined(0, {"budget:0:x": {"m": 3}}, again=True)
    scene.heard()
    scene.wants(1, 4, "budget:0:x", total=4, window_s=60.0)
    assert scene.heard()[0] == (1, Grant("budget:0:x", "m", 1))


def test_the_hub_takes_a_place_of_its_own_and_forgets_one_that_it_does_not_use() -> None:
    scene = Scene()
    scene.lender.bound("pool:p", 1, {})
    scene.wants(0, 0, spare=1)
    scene.heard()
    assert not scene.lender.take("pool:p", "m", -9)
    assert scene.heard() == [(0, Recalled("pool:p", "m", 0, 1))]
    scene.lender.hear(0, Back("pool:p", "m", 1, 1))
    assert scene.lender.take("pool:p", "m", -9)
    assert not scene.lender.take("pool:p", "m", -9)
    scene.wants(0, 1)
    scene.heard()
    scene.lender.put_back("pool:p", "m")
    assert scene.heard()[0] == (0, Grant("pool:p", "m", 1))
    assert not scene.lender.take("pool:p", "m", -9)
    scene.now_s += OWN_S
    scene.lender.step_all()
    assert scene.lender.lent("pool:p", 0, "m") == 1


def test_budgets_that_nobody_uses_are_forgotten_and_pools_are_not() -> None:
    scene = Scene()
    scene.lender.bound("pool:p", 3, {})
    scene.lender.step_all()
    scene.wants(0, 1)
    assert scene.heard() == [(0, Grant("pool:p", "m", 1))]
    scene.wants(0, 3, "budget:0:x", total=4)
    scene.wants(0, 0, "budget:0:x", total=4)
    scene.lender.hear(0, Back("budget:0:x", "m", 3))
    scene.lender.step_all()
    assert list(scene.lender._pots) == ["pool:p"]
