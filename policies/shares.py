"""One limit among several who each hand it out by themselves: who may have how much of it now.

A ledger lends units, asks for them back, and counts a unit as lent until it has come back. Must stay
true: what is lent, and what is frozen because its holder died, is never more than the total at the moment of
lending (a total may shrink below what is lent, and then nothing more is lent); each holder that needs a unit
has one within its turn, even where there are fewer units than holders; idle units go to who needs them.
A lane is a part of the total with a bound of its own. No clock is read here, and nothing is sent.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

ROTATE_S = 0.25
"""How long a unit stays with whom it was lent to, where there are fewer units than holders that need one."""

Key = tuple[int, str]
"""A holder's number, and a lane."""
Whose = TypeVar("Whose", Key, str)


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a holder could use now: `bands` are units in use and waited for, by priority; `spare` is what it
    would like to have idle, for who comes next."""

    bands: dict[int, int] = {}
    spare: int = 0

    @property
    def units(self) -> int:
        return sum(self.bands.values())


NOTHING = Need()


class Give(msgspec.Struct, frozen=True):
    """Lend so many units more."""

    holder: int
    lane: str
    units: int


class Recall(msgspec.Struct, frozen=True):
    """Ask for all above `keep`, idle units now and others as they become idle. None: no longer."""

    holder: int
    lane: str
    keep: int | None


Move = Give | Recall


class Share:
    """A holder's side: what it may use, and what of it is to go back. `used` is its caller's to know."""

    __slots__ = ("keep", "units")

    def __init__(self) -> None:
        self.units = 0
        self.keep: int | None = None

    def surplus(self, used: int) -> int:
        """How many of the idle units are asked back."""
        return 0 if self.keep is None else max(0, self.units - max(used, self.keep))


class _Frozen(msgspec.Struct, frozen=True):
    """What a dead holder may still be using."""

    until_s: float
    holder: int
    lane: str
    units: int


class Ledger:
    """One total. `tidy`: what a holder does not need is asked back though nobody else needs it. Holders'
    numbers are the caller's."""

    def __init__(self, total: int = 0, *, tidy: bool = False) -> None:
        self.total = total
        self.bounds: dict[str, int] = {}
        """Of lanes; one that is not here is bounded by the total alone."""
        self.lent: dict[Key, int] = {}
        self._tidy = tidy
        self._needs: dict[Key, Need] = {}
        self._recalled: dict[Key, int] = {}
        self._frozen: list[_Frozen] = []
        self._turns: dict[Key, int] = {}
        """When each had its turn last, where there are too few units; counted in turns."""
        self._turn = 0
        self._turned_s = 0.0

    @property
    def idle(self) -> bool:
        """Nobody has anything of it, and nobody needs anything."""
        return not (self.lent or self._needs or self._frozen)

    def lent_in(self, lane: str) -> int:
        return sum(units for (_, name), units in self.lent.items() if name == lane)

    # -- what happens -------------------------------------------------------------------

    def needs(self, holder: int, lane: str, need: Need) -> None:
        """What a holder could use now; it replaces what was said before."""
        if need.units or need.spare:
            self._needs[holder, lane] = need
        else:
            self._needs.pop((holder, lane), None)

    def need_of(self, holder: int, lane: str) -> Need:
        return self._needs.get((holder, lane), NOTHING)

    def came_back(self, holder: int, lane: str, units: int) -> None:
        """Units that their holder will not use any more."""
        left = self.lent.get((holder, lane), 0) - units
        if left > 0:
            self.lent[holder, lane] = left
        else:
            self.lent.pop((holder, lane), None)

    def has_already(self, holder: int, lane: str, units: int) -> None:
        """A holder says what an earlier ledger has lent to it."""
        if units > 0:
            self.lent[holder, lane] = units

    def gone(self, holder: int, until_s: float) -> None:
        """A holder died. What it had is nobody's until then: it may still be in use."""
        for key in [key for key in self.lent if key[0] == holder]:
            self._frozen.append(_Frozen(until_s, *key, self.lent.pop(key)))
        for told in (self._needs, self._recalled, self._turns):
            for key in [key for key in told if key[0] == holder]:
                del told[key]

    def lives(self, holder: int) -> None:
        """It was only thought to be dead, and says itself what it has."""
        self._frozen = [frozen for frozen in self._frozen if frozen.holder != holder]

    def step(self, now_s: float) -> list[Move]:
        """What to lend and what to ask back now. Call it after anything has happened, and now and then."""
        self._frozen = [frozen for frozen in self._frozen if frozen.until_s > now_s]
        wanted = self._wanted(now_s)
        free, lane_free = self._free()
        moves: list[Move] = []
        for key in sorted(wanted, key=lambda key: (self.lent.get(key, 0), key)):
            lane = key[1]
            room = min(free, lane_free.get(lane, free))
            units = min(wanted[key] - self.lent.get(key, 0), room)
            if units > 0:
                self.lent[key] = self.lent.get(key, 0) + units
                free -= units
                if lane in lane_free:
                    lane_free[lane] -= units
                moves.append(Give(*key, units))
        moves += self._recalls(wanted, free, lane_free)
        return moves

    # -- inside -------------------------------------------------------------------------

    def _free(self) -> tuple[int, dict[str, int]]:
        """Of the total, and of each lane that has a bound. Below zero where a limit has shrunk."""
        frozen = sum(one.units for one in self._frozen)
        lanes = {
            lane: bound
            - self.lent_in(lane)
            - sum(one.units for one in self._frozen if one.lane == lane)
            for lane, bound in self.bounds.items()
        }
        return self.total - sum(self.lent.values()) - frozen, lanes

    def _recalls(
        self, wanted: Mapping[Key, int], free: int, lane_free: Mapping[str, int]
    ) -> list[Move]:
        short = {key for key, units in wanted.items() if self.lent.get(key, 0) < units}
        moves: list[Move] = []
        for key, lent in self.lent.items():
            keep = wanted.get(key, 0)
            pressed = bool(short) or self._tidy or free < 0 or lane_free.get(key[1], 0) < 0
            if lent > keep and pressed:
                if self._recalled.get(key) != keep:
                    self._recalled[key] = keep
                    moves.append(Recall(*key, keep))
            elif self._recalled.pop(key, None) is not None:
                moves.append(Recall(*key, None))
        for key in [key for key in self._recalled if key not in self.lent]:
            del self._recalled[key]
            moves.append(Recall(*key, None))
        return moves

    def _wanted(self, now_s: float) -> dict[Key, int]:
        """How much each should have: one for each that needs any, by turns where that is too much; then by
        priority, in proportion to what is still needed; then what is left as spare."""
        frozen = sum(one.units for one in self._frozen)
        left = max(self.total - frozen, 0)
        lanes: dict[str, int] = {}
        for _, lane in self._needs:
            lanes[lane] = left
            if (bound := self.bounds.get(lane)) is not None:
                gone = sum(one.units for one in self._frozen if one.lane == lane)
                lanes[lane] = max(min(bound - gone, left), 0)
        wanted = dict.fromkeys(self._needs, 0)
        left = self._one_each(wanted, left, lanes, now_s)
        for priority in sorted(
            {p for need in self._needs.values() for p in need.bands}, reverse=True
        ):
            asked = {
                key: sum(units for p, units in need.bands.items() if p >= priority) - wanted[key]
                for key, need in self._needs.items()
            }
            left = self._fill(wanted, asked, left, lanes)
        spare = {key: need.spare for key, need in self._needs.items()}
        self._fill(wanted, spare, left, lanes)
        return wanted

    def _one_each(
        self, wanted: dict[Key, int], left: int, lanes: dict[str, int], now_s: float
    ) -> int:
        needy = [key for key, need in self._needs.items() if need.units]
        passed_over = False
        if now_s - self._turned_s >= ROTATE_S:
            self._turned_s, self._turn = now_s, self._turn + 1
            chosen = [key for key in needy if self.lent.get(key, 0)]
            for key in chosen:
                self._turns[key] = self._turn
        # Among those whose turns are equally long ago, whoever has one keeps it until the next turn.
        for key in sorted(
            needy, key=lambda key: (self._turns.get(key, 0), not self.lent.get(key, 0), key)
        ):
            if left > 0 and lanes[key[1]] > 0:
                wanted[key] += 1
                lanes[key[1]] -= 1
                left -= 1
            else:
                passed_over = True
        if not passed_over:
            self._turns.clear()
        return left

    def _fill(
        self, wanted: dict[Key, int], asked: Mapping[Key, int], left: int, lanes: dict[str, int]
    ) -> int:
        """Give `asked` as far as it goes, in proportion. Returns what is left."""
        by_lane: dict[str, dict[Key, int]] = {}
        for key, units in asked.items():
            if units > 0:
                by_lane.setdefault(key[1], {})[key] = units
        most = {lane: min(sum(keys.values()), lanes[lane]) for lane, keys in by_lane.items()}
        held = {lane: self.lent_in(lane) for lane in most}
        for lane, units in apportion(left, most, held).items():
            for key, part in apportion(units, by_lane[lane], self.lent).items():
                wanted[key] += part
            lanes[lane] -= units
            left -= units
        return left


def apportion(
    units: int, asked: Mapping[Whose, int], held: Mapping[Whose, int]
) -> dict[Whose, int]:
    """Whole units in proportion to `asked`, never more than that. What the division leaves goes to the
    largest rests, of equals to who holds most already, so that units do not wander to and fro."""
    total = sum(asked.values())
    if units >= total:
        return dict(asked)
    parts = {whose: units * count // total for whose, count in asked.items()}
    rest = units - sum(parts.values())
    order = sorted(
        asked,
        key=lambda whose: (-(units * asked[whose] % total), -held.get(whose, 0), whose),
    )
    for whose in order[:rest]:
        parts[whose] += 1
    return parts
