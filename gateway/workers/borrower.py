"""What this worker has of the limits that all share, what it could use, and what goes back to the hub.

Nothing here is asked of the hub for a request, as long as the worker has a unit: it is asked when somebody
waits, at most once in `GATHER_S` for all who do. Must stay true: a unit that is sent back is not used any
more; every recall is answered; without a hub the worker goes on with what it has.
"""

import asyncio
import itertools
from collections.abc import Callable

import msgspec

from gateway.workers.messages import Answered, Back, Grant, Recalled, Wants
from policies.shares import NOTHING, Need, Share

GATHER_S = 0.01
"""Between two messages about one round of changes; the first goes at once."""
ASK_S = 1.0
"""How long an answer of the hub is waited for. It takes less than a millisecond, or there is no hub."""
LOOKED_AT = 256
"""Lots that one tick looks at."""

LotKey = tuple[str, str]
"""Pot and lane."""


class Lot:
    """This worker's part of one lane of a pot. `used` and `need` are asked for when they are wanted;
    `on_change` is called when it may use more or fewer units."""

    def __init__(
        self,
        pot: str,
        lane: str = "",
        *,
        used: Callable[[], int],
        need: Callable[[], Need],
        on_change: Callable[[], None],
        total: int | None = None,
        window_s: float = 0.0,
    ) -> None:
        self.key: LotKey = (pot, lane)
        self.share = Share()
        self.used, self.need, self.on_change = used, need, on_change
        self.total, self.window_s = total, window_s
        self.said = NOTHING

    @property
    def usable(self) -> int:
        """What may be in use now: of units that are asked back, none is used again."""
        share = self.share
        return share.units if share.keep is None else min(share.units, share.keep)


class Borrower:
    """All lots of one worker. `say` sends to the hub."""

    def __init__(self, say: Callable[[msgspec.Struct], None]) -> None:
        self._say = say
        self.linked = False
        """There is a hub that hears what is said."""
        self._lots: dict[LotKey, Lot] = {}
        self._dirty: set[LotKey] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_s = float("-inf")
        self._asks: dict[int, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._round: list[LotKey] = []
        """Lots that this round of ticks has not looked at yet."""

    def open(self, lot: Lot) -> None:
        self._lots[lot.key] = lot
        self.poke(lot)

    def close(self, lot: Lot) -> None:
        """Nobody uses it any more: all of it goes back."""
        if self._lots.pop(lot.key, None) is not None:
            self._dirty.discard(lot.key)
            self._say(Wants(*lot.key, {}))
            self._say(Back(*lot.key, lot.share.units))
            lot.share.units = 0

    def poke(self, lot: Lot) -> None:
        """Its use or its need has changed, and somebody may wait for that: tell the hub soon."""
        self._dirty.add(lot.key)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            delay_s = max(0.0, self._flushed_s + GATHER_S - loop.time())
            self._timer = loop.call_later(delay_s, self._flush)

    def tick(self) -> None:
        """Tell of what has changed; of many lots, of some after the other."""
        if not self._round:
            self._round = list(self._lots)
        self._dirty.update(key for key in self._round[-LOOKED_AT:] if key in self._lots)
        del self._round[-LOOKED_AT:]
        self._flush()

    def parted(self) -> None:
        """There is no hub just now: what it asked back and did not get stays here."""
        self.linked = False
        for lot in self._lots.values():
            lot.share.keep = None
            lot.on_change()

    async def ask(self, lot: Lot) -> None:
        """Until the hub has lent what `need` says, or has found that no more can be had."""
        if not self.linked:
            return
        number = next(self._numbers)
        answer = self._asks[number] = asyncio.get_running_loop().create_future()
        try:
            self._wants(lot, ask=number)
            async with asyncio.timeout(ASK_S):
                await answer
        except TimeoutError:
            pass  # there is no hub just now: what is here has to do
        finally:
            del self._asks[number]

    # -- what the hub says --------------------------------------------------------------

    def hear(self, message: Grant | Recalled | Answered) -> None:
        match message:
            case Grant(pot=pot, lane=lane, units=units):
                if (lot := self._lots.get((pot, lane))) is None:
                    self._say(Back(pot, lane, units))  # it was closed meanwhile
                    return
                lot.share.units += units
                lot.on_change()
            case Recalled(pot=pot, lane=lane, keep=keep, seq=seq):
                if (lot := self._lots.get((pot, lane))) is None:
                    self._say(Back(pot, lane, 0, seq))
                    return
                lot.share.keep = keep
                if lot.need() != lot.said:  # what is needed here decides what is asked back
                    self._wants(lot)
                self._give_back(lot, seq)
                lot.on_change()
            case Answered(ask=number):
                if (answer := self._asks.get(number)) is not None and not answer.done():
                    answer.set_result(None)

    def shares(self) -> dict[str, dict[str, int]]:
        """What it has, for a hub that knows nothing yet. What an earlier one asked back is forgotten."""
        self.linked = True
        told: dict[str, dict[str, int]] = {}
        for (pot, lane), lot in self._lots.items():
            lot.share.keep = None
            lot.said = NOTHING
            told.setdefault(pot, {})[lane] = lot.share.units
        return told

    # -- inside -------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flushed_s = asyncio.get_running_loop().time()
        dirty, self._dirty = self._dirty, set()
        for key in dirty:
            lot = self._lots[key]
            if lot.share.surplus(lot.used()):
                self._give_back(lot, 0)
                lot.on_change()
            if lot.need() != lot.said:
                self._wants(lot)

    def _give_back(self, lot: Lot, seq: int) -> None:
        units = lot.share.surplus(lot.used())
        lot.share.units -= units
        self._say(Back(*lot.key, units, seq))

    def _wants(self, lot: Lot, ask: int | None = None) -> None:
        lot.said = need = lot.need()
        self._say(
            Wants(
                *lot.key,
                need.bands,
                need.spare,
                total=lot.total,
                window_s=lot.window_s,
                ask=ask,
            )
        )
