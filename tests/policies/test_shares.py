"""One limit lent to several: never more than there is, and nobody is left without for ever."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policies.shares import ROTATE_S, Give, Ledger, Need, Recall, Share, apportion


class Holder:
    """One process: it hands out its share by itself, and talks to the ledger over two queues."""

    def __init__(self) -> None:
        self.share = Share()
        self.used = 0
        self.waiting = 0
        self.inbox: deque[Give | Recall] = deque()
        self.outbox: deque[tuple[str, object]] = deque()

    def say(self) -> None:
        self.outbox.append(("need", Need(bands={0: self.used + self.waiting})))

    def settle(self) -> None:
        """Let in whom there is room for; give back what is asked back."""
        back = self.share.surplus(self.used)
        if back:
            self.share.units -= back
            self.outbox.append(("back", back))
        while self.waiting and self.used < self.share.units:
            if self.share.keep is not None and self.used >= self.share.keep:
                break
            self.waiting -= 1
            self.used += 1
        self.say()

    def hear(self) -> None:
        match self.inbox.popleft():
            case Give(units=units):
                self.share.units += units
            case Recall(keep=keep):
                self.share.keep = keep
        self.settle()


class World:
    def __init__(self, holders: int, total: int) -> None:
        self.ledger = Ledger(total)
        self.holders = {number: Holder() for number in range(holders)}
        self.ghosts: list[tuple[float, int]] = []
        self.now_s = 0.0

    def step(self) -> None:
        for move in self.ledger.step(self.now_s):
            self.holders[move.holder].inbox.append(move)

    def read(self, number: int) -> None:
        """The ledger hears the next thing that a holder has said."""
        what, value = self.holders[number].outbox.popleft()
        if what == "back":
            assert isinstance(value, int)
            self.ledger.came_back(number, "", value)
        else:
            assert isinstance(value, Need)
            self.ledger.needs(number, "", value)
        self.step()

    def talk(self) -> None:
        """Everything that was said is heard."""
        while any(holder.inbox or holder.outbox for holder in self.holders.values()):
            for number, holder in self.holders.items():
                while holder.outbox:
                    self.read(number)
                while holder.inbox:
                    holder.hear()

    @property
    def in_use(self) -> int:
        self.ghosts = [ghost for ghost in self.ghosts if ghost[0] > self.now_s]
        return sum(h.used for h in self.holders.values()) + sum(used for _, used in self.ghosts)


class AnyOrder(RuleBasedStateMachine):
    """Messages come late, processes die: what is used together never passes the total."""

    @initialize(holders=st.integers(1, 4), total=st.integers(0, 6))
    def begin(self, holders: int, total: int) -> None:
        self.world = World(holders, total)

    def pick(self, number: int) -> Holder:
        return self.world.holders[number % len(self.world.holders)]

    @rule(number=st.integers(0, 3), count=st.integers(1, 4))
    def arrive(self, number: int, count: int) -> None:
        holder = self.pick(number)
        holder.waiting += count
        holder.settle()

    @rule(number=st.integers(0, 3))
    def end(self, number: int) -> None:
        holder = self.pick(number)
        if holder.used:
            holder.used -= 1
            holder.settle()

    @rule(number=st.integers(0, 3))
    def ledger_hears(self, number: int) -> None:
        number %= len(self.world.holders)
        if self.world.holders[number].outbox:
            self.world.read(number)

    @rule(number=st.integers(0, 3))
    def holder_hears(self, number: int) -> None:
        if self.pick(number).inbox:
            self.pick(number).hear()

    @rule(later_s=st.sampled_from([0.1, 1.0]))
    def wait(self, later_s: float) -> None:
        self.world.now_s += later_s
        self.world.step()

    @rule(number=st.integers(0, 3))
    def die(self, number: int) -> None:
        world, number = self.world, number % len(self.world.holders)
        dead = world.holders[number]
        while dead.outbox:  # what was said before is heard
            world.read(number)
        until_s = world.now_s + 0.5
        world.ghosts.append((until_s, dead.used))
        world.ledger.gone(number, until_s)
        world.holders[number] = Holder()
        world.step()

    @rule()
    def another_ledger(self) -> None:
        """The process that lends is replaced: every holder says what it has, when all was heard."""
        world = self.world
        world.talk()
        frozen = world.ledger._frozen
        world.ledger = Ledger(world.ledger.total)
        world.ledger._frozen = frozen
        for number, holder in world.holders.items():
            world.ledger.has_already(number, "", holder.share.units)
            holder.share.keep = None
            holder.say()

    @invariant()
    def never_more_than_there_is(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        assert world.in_use <= world.ledger.total
        for holder in world.holders.values():
            assert holder.used <= holder.share.units
        coming = sum(
            m.units for h in world.holders.values() for m in h.inbox if isinstance(m, Give)
        )
        assert sum(h.share.units for h in world.holders.values()) + coming <= world.ledger.total

    def teardown(self) -> None:
        """When all is heard and nobody comes any more, everybody is served."""
        if not hasattr(self, "world") or not self.world.ledger.total:
            return
        world = self.world
        for _ in range(200):
            world.talk()
            world.now_s += ROTATE_S
            world.step()
            world.talk()
            for holder in world.holders.values():
                if holder.used:
                    holder.used -= 1
                holder.settle()
            if not any(h.waiting or h.used for h in world.holders.values()):
                return
        raise AssertionError("somebody waits for ever")


TestAnyOrder = pytest.mark.req("OPS-9")(AnyOrder.TestCase)


@pytest.mark.req("OPS-9")
@given(
    total=st.integers(0, 12),
    asked=st.dictionaries(st.integers(0, 7), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    bound=st.integers(0, 12),
)
def test_what_is_lent_fills_the_need_as_far_as_it_goes(
    total: int, asked: dict[int, tuple[int, int]], bound: int
) -> None:
    ledger = Ledger(total)
    ledger.bounds = {"a": bound}
    for holder, (a, b) in asked.items():
        ledger.needs(holder, "a", Need(bands={0: a}))
        ledger.needs(holder, "b", Need(bands={0: b}))
    ledger.step(0.0)
    in_a, in_b = ledger.lent_in("a"), ledger.lent_in("b")
    need_a = min(sum(a for a, _ in asked.values()), bound)
    need_b = sum(b for _, b in asked.values())
    assert in_a <= need_a
    assert in_b <= need_b
    assert in_a + in_b == min(need_a + need_b, total)


@pytest.mark.req("OPS-9")
@given(holders=st.integers(2, 8), total=st.integers(1, 7))
def test_each_who_waits_has_its_turn_where_there_are_fewer_units_than_holders(
    holders: int, total: int
) -> None:
    world = World(holders, min(total, holders - 1))
    for holder in world.holders.values():
        holder.waiting = 1000
        holder.settle()
    served = dict.fromkeys(world.holders, 0)
    for _ in range(holders):
        world.now_s += ROTATE_S
        world.step()
        for _ in range(3):
            world.talk()
            for number, holder in world.holders.items():
                served[number] += holder.used
                holder.used = 0  # each request is over before the next turn
                holder.settle()
    assert min(served.values()) > 0


@pytest.mark.req("OPS-9")
def test_idle_units_flow_to_who_needs_them() -> None:
    world = World(2, 10)
    a, b = world.holders.values()
    world.ledger.needs(0, "", Need(spare=5))
    world.ledger.needs(1, "", Need(spare=5))
    world.step()
    world.talk()
    assert (a.share.units, b.share.units) == (5, 5)
    a.waiting = 20
    a.settle()
    world.talk()
    assert a.used == 10


@pytest.mark.req("OPS-9")
def test_a_higher_priority_elsewhere_goes_first() -> None:
    ledger = Ledger(4)
    ledger.needs(0, "", Need(bands={0: 9}))
    ledger.needs(1, "", Need(bands={10: 3}))
    moves = ledger.step(0.0)
    assert sorted((m.holder, m.units) for m in moves if isinstance(m, Give)) == [(0, 1), (1, 3)]


@pytest.mark.req("OPS-9")
def test_a_total_that_shrinks_asks_back_what_is_too_much() -> None:
    ledger = Ledger(4)
    ledger.needs(0, "", Need(bands={0: 4}))
    ledger.step(0.0)
    ledger.total = 2
    assert ledger.step(0.1) == [Recall(0, "", 2)]
    ledger.came_back(0, "", 2)
    ledger.needs(1, "", Need(bands={0: 1}))
    assert Give(1, "", 1) not in ledger.step(0.2)


@pytest.mark.req("OPS-9")
def test_a_tidy_ledger_asks_back_what_nobody_needs() -> None:
    ledger = Ledger(10, tidy=True)
    ledger.needs(0, "", Need(bands={0: 6}))
    ledger.step(0.0)
    ledger.needs(0, "", Need(bands={0: 1}, spare=2))
    assert ledger.step(0.1) == [Recall(0, "", 3)]


@pytest.mark.req("OPS-9")
@pytest.mark.parametrize("bounds", [{}, {"": 9}])
def test_what_a_dead_holder_does_not_have_is_all_there_for_the_others(
    bounds: dict[str, int],
) -> None:
    ledger = Ledger(10)
    ledger.bounds = bounds
    ledger.needs(0, "", Need(bands={0: 4}))
    ledger.step(0.0)
    ledger.gone(0, until_s=5.0)
    ledger.needs(1, "", Need(bands={0: 20}))
    assert ledger.step(1.0) == [Give(1, "", min(10, bounds.get("", 10)) - 4)]
    assert ledger.step(5.0) == [Give(1, "", 4)]
    ledger.gone(1, until_s=9.0)
    ledger.lives(1)
    assert ledger.idle


@pytest.mark.req("OPS-9")
def test_a_ledger_that_nobody_uses_is_idle() -> None:
    ledger = Ledger(3)
    ledger.needs(0, "", Need(bands={0: 1}))
    ledger.step(0.0)
    ledger.gone(0, until_s=1.0)
    assert not ledger.idle
    ledger.step(1.0)
    assert ledger.idle


@pytest.mark.req("OPS-9")
@given(
    units=st.integers(0, 40),
    asked=st.dictionaries(st.sampled_from("abcde"), st.integers(0, 20)),
)
def test_parts_add_up_and_are_never_more_than_was_asked(units: int, asked: dict[str, int]) -> None:
    parts = apportion(units, asked, {})
    assert sum(parts.values()) == min(units, sum(asked.values()))
    assert all(parts[name] <= asked[name] for name in asked)
