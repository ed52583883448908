"""A worker's side of a loan: what it says, when, and that nothing is used that was given back."""

import asyncio

import msgspec
import pytest

from gateway.workers.borrower import ASK_S, Borrower, Lot
from gateway.workers.messages import Answered, Back, Grant, Recalled, Wants
from policies.shares import Need

pytestmark = [pytest.mark.req("OPS-9"), pytest.mark.looptime]


class Scene:
    def __init__(self) -> None:
        self.said: list[msgspec.Struct] = []
        self.used = self.wanted = self.changes = 0
        self.borrower = Borrower(self.said.append)
        self.borrower.shares()
        self.lot = Lot(
            "pool:p",
            "m",
            used=lambda: self.used,
            need=lambda: Need(bands={0: self.wanted} if self.wanted else {}),
            on_change=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    async def heard(self) -> list[msgspec.Struct]:
        await asyncio.sleep(1)
        said = list(self.said)
        self.said.clear()
        return said


async def test_a_need_is_said_at_once_and_then_not_more_often_than_it_changes() -> None:
    scene = Scene()
    scene.wanted = 2
    scene.borrower.open(scene.lot)
    await asyncio.sleep(0)
    assert await scene.heard() == [Wants("pool:p", "m", {0: 2})]
    scene.borrower.poke(scene.lot)
    assert await scene.heard() == []
    for scene.wanted in (3, 4, 5):
        scene.borrower.poke(scene.lot)
    assert await scene.heard() == [Wants("pool:p", "m", {0: 5})]
    scene.wanted = 6
    scene.borrower.tick()
    assert await scene.heard() == [Wants("pool:p", "m", {0: 6})]


async def test_units_that_are_asked_back_go_as_they_become_idle() -> None:
    scene = Scene()
    scene.borrower.open(scene.lot)
    scene.borrower.hear(Grant("pool:p", "m", 5))
    assert scene.lot.usable == 5
    scene.used = 4
    scene.borrower.hear(Recalled("pool:p", "m", 2, 1))
    assert scene.lot.usable == 2
    assert await scene.heard() == [Back("pool:p", "m", 1, 1)]
    scene.used = 1
    scene.borrower.poke(scene.lot)
    assert await scene.heard() == [Back("pool:p", "m", 2, 0)]
    assert (scene.lot.share.units, scene.lot.usable) == (2, 2)
    scene.borrower.hear(Recalled("pool:p", "m", None, 2))
    assert scene.said == [Back("pool:p", "m", 0, 2)]


async def test_an_answer_ends_the_waiting_and_so_does_a_hub_that_is_silent() -> None:
    scene = Scene()
    scene.borrower.open(scene.lot)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(scene.borrower.ask(scene.lot))
        await asyncio.sleep(0)
        (wants,) = scene.said
        assert isinstance(wants, Wants)
        assert wants.ask is not None
        scene.borrower.hear(Answered(wants.ask))
        await asking
    began_s = asyncio.get_running_loop().time()
    await scene.borrower.ask(scene.lot)
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(ASK_S)


async def test_without_a_hub_nobody_waits_and_nothing_is_given_back() -> None:
    scene = Scene()
    scene.borrower.open(scene.lot)
    scene.borrower.hear(Grant("pool:p", "m", 5))
    scene.used = 5
    scene.borrower.hear(Recalled("pool:p", "m", 0, 1))
    assert scene.lot.usable == 0
    scene.borrower.parted()
    assert scene.lot.usable == 5
    await scene.borrower.ask(scene.lot)
    assert scene.borrower.shares() == {"pool:p": {"m": 5}}


async def test_a_lot_that_is_closed_has_nothing() -> None:
    scene = Scene()
    scene.borrower.open(scene.lot)
    await scene.heard()
    scene.borrower.hear(Grant("pool:p", "m", 5))
    scene.borrower.close(scene.lot)
    assert await scene.heard() == [Wants("pool:p", "m", {}), Back("pool:p", "m", 5)]
    scene.borrower.hear(Grant("pool:p", "m", 1))
    scene.borrower.hear(Recalled("pool:p", "m", 0, 3))
    assert await scene.heard() == [Back("pool:p", "m", 1), Back("pool:p", "m", 0, 3)]
