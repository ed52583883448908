"""The hub's side of all limits that workers share: who is lent how much of what.

`policies.shares` decides; here are its ledgers, one a pot, and what is said to workers. A pot is a pool
(its lanes are its models), the room of those who wait for one, or one limit of one caller's budget. Must stay
true: nothing is lent before every worker that lives has said what it has already.
"""

import time
from collections.abc import Callable, Collection

import msgspec

from gateway.workers.messages import DAY, Answered, Back, Grant, Recalled, Wants
from policies.shares import Give, Ledger, Need, Recall
from policies.usage_window import DAY_S

HUB = -1
"""The hub itself, as a holder: it tests endpoints."""
GRACE_S = 0.5
"""How long an engine may take to see that the process that asked it has died."""
ASK_S = 0.3
"""How long holders may take to answer a recall before whoever asked is answered."""
OWN_S = 10.0
"""How long the hub's own need is remembered."""

Say = Callable[[int, msgspec.Struct], None]


class _Ask(msgspec.Struct, frozen=True):
    worker: int
    lane: str
    number: int
    until_s: float


class _Own(msgspec.Struct):
    """The hub's own units of a lane, and how long they are wanted, while they are not in use."""

    until_s: float
    units: int = 0
    in_use: bool = False


class _Pot:
    def __init__(self, ledger: Ledger, window_s: float = 0.0) -> None:
        self.ledger = ledger
        self.window_s = window_s
        self.seq = 0
        self.unanswered: dict[tuple[int, str], int] = {}
        """Recalls that a worker has not answered yet, by their number."""
        self.asks: list[_Ask] = []
        self.own: dict[str, _Own] = {}


def pool_pot(pool: str) -> str:
    return f"pool:{pool}"


class Lender:
    """`expected` are workers that lived before this hub: nothing is lent before each has joined or is
    gone."""

    def __init__(
        self,
        say: Say,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
        expected: Collection[int] = (),
    ) -> None:
        self._say = say
        self._clock, self._wall_clock = clock, wall_clock
        self._expected = set(expected)
        self._pots: dict[str, _Pot] = {}

    # -- workers come and go --------------------------------------------------------------

    def joined(self, worker: int, shares: dict[str, dict[str, int]], *, again: bool) -> None:
        """A worker is here, with what it was lent already. `again`: it is the same process as before."""
        self._expected.discard(worker)
        if again:
            for pot in self._pots.values():
                pot.ledger.lives(worker)
        for name, lanes in shares.items():
            pot = self._pot(name)
            for lane, units in lanes.items():
                pot.ledger.has_already(worker, lane, units)
        self.step_all()

    def gone(self, worker: int) -> None:
        """A worker died. What it had of a pool is free once its engines have seen that; what it had of a
        budget may have been used, and counts for as long as what is used does."""
        now_s = self._clock()
        self._expected.discard(worker)
        for name, pot in self._pots.items():
            if pot.window_s == DAY:
                hold_s = DAY_S - self._wall_clock() % DAY_S
            else:
                hold_s = GRACE_S if name.startswith("pool:") else pot.window_s
            pot.ledger.gone(worker, now_s + hold_s)
            for key in [key for key in pot.unanswered if key[0] == worker]:
                del pot.unanswered[key]
            pot.asks = [ask for ask in pot.asks if ask.worker != worker]
        self.step_all()

    # -- what they say --------------------------------------------------------------------

    def hear(self, worker: int, message: Wants | Back) -> None:
        pot = self._pot(message.pot)
        match message:
            case Wants():
                if message.total is not None:
                    pot.ledger.total, pot.window_s = message.total, message.window_s
                need = Need(bands=message.bands, spare=message.spare)
                pot.ledger.needs(worker, message.lane, need)
                if message.ask is not None:
                    until_s = self._clock() + ASK_S
                    pot.asks.append(_Ask(worker, message.lane, message.ask, until_s))
            case Back():
                pot.ledger.came_back(worker, message.lane, message.units)
                key = (worker, message.lane)
                if pot.unanswered.get(key) == message.seq:
                    del pot.unanswered[key]
        self._step(message.pot, pot)

    def bound(self, name: str, total: int, bounds: dict[str, int]) -> None:
        """What a pool and its models may have at once, from now on."""
        pot = self._pot(name)
        if (pot.ledger.total, pot.ledger.bounds) != (total, bounds):
            pot.ledger.total, pot.ledger.bounds = total, bounds
            self._step(name, pot)

    def step_all(self) -> None:
        """Now and then: turns change, and what the dead had comes free."""
        for name, pot in list(self._pots.items()):
            self._step(name, pot)
            # Of a pool it is the hub that says how much there is; callers are any number.
            if pot.ledger.idle and not pot.asks and name.startswith("budget:"):
                del self._pots[name]

    # -- the hub's own --------------------------------------------------------------------

    def take(self, name: str, lane: str, priority: int) -> bool:
        """One unit for the hub, if it can be had at once. Else it is asked for, for whoever tries again."""
        pot = self._pot(name)
        own = pot.own.setdefault(lane, _Own(0.0))
        if own.in_use:
            return False
        own.until_s = self._clock() + OWN_S
        pot.ledger.needs(HUB, lane, Need(bands={priority: 1}))
        self._step(name, pot)
        own.in_use = own.units > 0
        return own.in_use

    def put_back(self, name: str, lane: str) -> None:
        """The hub needs no unit any more."""
        pot = self._pot(name)
        self._give_up(pot, lane)
        self._step(name, pot)

    def lent(self, name: str, worker: int, lane: str) -> int:
        return self._pot(name).ledger.lent.get((worker, lane), 0)

    # -- inside ---------------------------------------------------------------------------

    def _pot(self, name: str) -> _Pot:
        pot = self._pots.get(name)
        if pot is None:
            pot = self._pots[name] = _Pot(Ledger(tidy=name.startswith("budget:")))
        return pot

    def _give_up(self, pot: _Pot, lane: str) -> None:
        own = pot.own.pop(lane, None)
        if own is not None:
            pot.ledger.needs(HUB, lane, Need())
            pot.ledger.came_back(HUB, lane, own.units)

    def _step(self, name: str, pot: _Pot) -> None:
        if self._expected:
            return
        now_s = self._clock()
        for lane, own in list(pot.own.items()):
            if not own.in_use and own.until_s <= now_s:
                self._give_up(pot, lane)
        for move in pot.ledger.step(now_s):
            match move:
                case Give(holder=holder, lane=lane, units=units):
                    if holder == HUB:
                        pot.own[lane].units += units
                    else:
                        self._say(holder, Grant(name, lane, units))
                case Recall(holder=holder, lane=lane, keep=keep):
                    if holder != HUB:
                        pot.seq += 1
                        if keep is not None:
                            pot.unanswered[holder, lane] = pot.seq
                        self._say(holder, Recalled(name, lane, keep, pot.seq))
        self._answer(pot, now_s)

    def _answer(self, pot: _Pot, now_s: float) -> None:
        """Whoever asked has what can be had, once all others have said what they can spare."""
        left = []
        for ask in pot.asks:
            others = any(worker != ask.worker for worker, _ in pot.unanswered)
            if others and now_s < ask.until_s and self._is_short(pot, ask):
                left.append(ask)
            else:
                self._say(ask.worker, Answered(ask.number))
        pot.asks = left

    def _is_short(self, pot: _Pot, ask: _Ask) -> bool:
        key = (ask.worker, ask.lane)
        need = pot.ledger.need_of(*key)
        return pot.ledger.lent.get(key, 0) < need.units
