"""Was the intent honoured below? llm-d takes an objective it does not know for priority 0, and says nothing.

One `Honour` a pool. It is fed what answers tell of their wait in the backend's own queue and, where
somebody scrapes them, the endpoint picker's counters; its verdicts carry their reason in words.

What must stay true: memory is bounded whatever names come; without evidence the verdict is
"unconfirmed"; and the counters, which say it outright, go before the waits, from which it is inferred.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Literal

import msgspec

from policies.wait_order import Wait, compare_waits

Verdict = Literal["honoured", "unconfirmed", "not_honoured"]
ENOUGH = 20
"""Answers below which nothing is concluded."""
OBJECTIVES_MAX, SAMPLES_MAX, PRIORITIES_MAX = 64, 256, 256
WINDOW_S = 300.0
"""How far back waits are looked at."""
SPACING_S = WINDOW_S / SAMPLES_MAX
"""Between two samples once there is no more room, so that those of a busy class reach as far back as
those of a quiet one."""
COUNTED_FOR_S = 900.0
"""How long the counters' word holds after the scrape that it came from."""
NOTICEABLE_S = 0.05
"""A median wait below which there is no queue to be first in."""
OUT_OF_ORDER, IN_ORDER = 0.6, 0.75
"""Shares of comparisons in which the higher class waits less: up to the one it is not served first, from
the other on it is (`policies.wait_order` on what is usual)."""


class HonourState(msgspec.Struct, frozen=True, kw_only=True):
    """`why` is a sentence's end: "<objective>: <why>"."""

    verdict: Verdict
    why: str


class _Track:
    """One objective. Its counting starts anew, from the latest scrape, whenever it has given a verdict."""

    def __init__(self, priority: int, base: Mapping[int, float] | None, base_s: float) -> None:
        self.priority = priority
        self.answers: deque[tuple[float, float | None]] = deque(maxlen=SAMPLES_MAX)
        self.base = base
        self.base_s = base_s
        self.sent = 0
        self.counted: HonourState | None = None
        self.counted_s = 0.0

    def count_from(self, counters: Mapping[int, float], now_s: float) -> None:
        self.base, self.base_s, self.sent = counters, now_s, 0

    def keep(self, now_s: float, queue_s: float | None) -> None:
        if len(self.answers) < SAMPLES_MAX or now_s >= self.answers[-1][0] + SPACING_S:
            self.answers.append((now_s, queue_s))

    def recent(self, now_s: float) -> list[tuple[float, float | None]]:
        return [answer for answer in self.answers if answer[0] > now_s - WINDOW_S]

    def waits(self, now_s: float) -> list[Wait]:
        return [(at_s, wait_s) for at_s, wait_s in self.recent(now_s) if wait_s is not None]


class Honour:
    """Feed it with `answered` and `scraped`, ask `state`. Times in seconds on one clock."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        """The one answered last is last, so the first is the one to forget."""
        self._now_s = 0.0
        self._scrape: tuple[Mapping[int, float] | None, float] = (None, 0.0)

    def answered(
        self,
        objective: str,
        priority: int,
        queue_s: float | None,
        now_s: float,
        *,
        sent_s: float | None = None,
    ) -> None:
        """A request under `objective` was answered well. `priority` is what the intent asks for, and
        `queue_s` what `Dialect.queue_s` read. `sent_s` is its dispatch: what was sent before a
        scrape may be counted in it."""
        self._now_s = max(self._now_s, now_s)
        track = self._tracks.pop(objective, None)
        if track is None or track.priority != priority:
            track = _Track(priority, *self._scrape)
        self._tracks[objective] = track
        if len(self._tracks) > OBJECTIVES_MAX:
            del self._tracks[next(iter(self._tracks))]
        track.keep(now_s, queue_s)
        if track.base is not None and (now_s if sent_s is None else sent_s) >= track.base_s:
            track.sent += 1

    def scraped(self, priorities: Mapping[int, float], now_s: float) -> None:
        """Counters of `flow_control_requests_total` by priority, as they stand at `now_s`."""
        self._now_s = max(self._now_s, now_s)
        counters = dict(islice(priorities.items(), PRIORITIES_MAX))
        self._scrape = (counters, now_s)
        for objective, track in self._tracks.items():
            moved = _moved(track.base, counters)
            if moved is None:
                track.count_from(counters, now_s)
            elif track.sent >= ENOUGH:
                track.counted, track.counted_s = self._by_count(objective, track, moved), now_s
                track.count_from(counters, now_s)

    def state(self, objective: str) -> HonourState:
        """The verdict as of the latest `answered` or `scraped`. Never raises."""
        track = self._tracks.get(objective)
        if track is None:
            return _unconfirmed("no answer yet")
        counted = track.counted if self._now_s - track.counted_s <= COUNTED_FOR_S else None
        if counted is not None and counted.verdict != "unconfirmed":
            return counted
        inferred = self._by_waits(objective, track)
        return counted if counted and inferred.verdict == "unconfirmed" else inferred

    # -- what the counters say ----------------------------------------------------------

    def _by_count(
        self, objective: str, track: _Track, moved: Mapping[int, float]
    ) -> HonourState | None:
        """None: they say nothing about this one."""
        wanted, declared = track.priority, [other.priority for other in self._tracks.values()]
        mine = moved.get(wanted, 0.0)
        if wanted == 0 or (mine > 0 and declared.count(wanted) > 1):
            return None  # whose requests they are cannot be told apart
        if mine >= track.sent / 2:
            return HonourState(
                verdict="honoured", why=f"llm-d counts its requests under priority {wanted}"
            )
        if mine > 0:  # several endpoint pickers, perhaps, of which one is asked
            return None
        strangers = [p for p, n in moved.items() if n >= track.sent / 2 and p not in {0, *declared}]
        if strangers:
            return _unconfirmed(
                f"llm-d counts requests under priority {strangers[0]}, which no intent here has, and "
                f"none under {wanted}"
            )
        if moved.get(0, 0.0) > 0:
            return HonourState(
                verdict="not_honoured",
                why="llm-d counts its requests under priority 0: is there an InferenceObjective "
                f"named {objective!r}?",
            )
        return _unconfirmed("llm-d's flow control counts none of its requests: is it on?")

    # -- what the waits say -------------------------------------------------------------

    def _by_waits(self, objective: str, track: _Track) -> HonourState:
        recent = track.recent(self._now_s)
        if len(recent) < ENOUGH:
            return _unconfirmed(f"{len(recent)} answers of late, and {ENOUGH} are needed")
        if all(queue_s is None for _, queue_s in recent):
            return _unconfirmed(
                f"none of {len(recent)} answers tells its wait in llm-d's queue: flow control is not "
                "in the path, or its router is not newer than v0.10"
            )
        if track.priority == 0:
            return HonourState(verdict="honoured", why="llm-d gives priority 0 to whatever comes")
        found = list(self._comparisons(objective, track))
        for verdict in ("not_honoured", "honoured"):
            for state in found:
                if state.verdict == verdict:
                    return state
        return found[0] if found else _unconfirmed("no other class waits with it to compare")

    def _comparisons(self, objective: str, track: _Track) -> Iterator[HonourState]:
        """With each other class. The one of priority 0 alone decides if it can: what llm-d does not
        know is of that class, so to be unlike it is to be known."""
        others = [(n, t) for n, t in self._tracks.items() if t.priority != track.priority]
        for name, other in sorted(others, key=lambda item: item[1].priority != 0):
            state = self._compared(objective, track, name, other)
            if state is not None:
                yield state
                if other.priority == 0 and state.verdict != "unconfirmed":
                    return

    def _compared(
        self, objective: str, track: _Track, name: str, other: _Track
    ) -> HonourState | None:
        """None: too few answers of both at about the same time."""
        found = compare_waits(track.waits(self._now_s), other.waits(self._now_s), at_least=ENOUGH)
        if found is None:
            return None
        waits = (
            f"it waits {found.first_s * 1000:.0f} ms in llm-d's queue, {name!r} (priority "
            f"{other.priority}) {found.second_s * 1000:.0f} ms"
        )
        if max(found.first_s, found.second_s) <= NOTICEABLE_S:
            return _unconfirmed(f"{waits}: no queue to be first in")
        in_order = found.ahead if track.priority > other.priority else 1 - found.ahead
        if in_order >= IN_ORDER:
            return HonourState(verdict="honoured", why=waits)
        if in_order > OUT_OF_ORDER:
            return _unconfirmed(f"{waits}: too close to tell")
        asked = f"is there an InferenceObjective named {objective!r}?"
        return HonourState(verdict="not_honoured", why=f"{waits}: {asked}")


def _unconfirmed(why: str) -> HonourState:
    return HonourState(verdict="unconfirmed", why=why)


def _moved(
    base: Mapping[int, float] | None, counters: Mapping[int, float]
) -> dict[int, float] | None:
    """How far each counter has come since `base`. None: there is no base, or it is another process's."""
    if base is None:
        return None
    moved = {p: counters.get(p, 0.0) - base.get(p, 0.0) for p in {**base, **counters}}
    return None if any(steps < 0 for steps in moved.values()) else moved
