"""Alarms of few lengths, set with every request and hardly ever heard.

Of those that take equally long, the one that was set first is due first. So each length is a line, and one
timer of the event loop, for whoever stands at its head, is enough for all: to set an alarm and to take it
back is an entry in a dict, where a timer of its own is made, sorted in and thrown away.
"""

import asyncio
from functools import cached_property
from typing import Protocol

EARLY_S = 0.001
"""By how much an event loop's timer may fire before its time (uvloop: whole milliseconds)."""


class Alarmed(Protocol):
    def ring(self) -> None:
        """The time is over. It may have been unset in the very round of the event loop that this comes in."""
        ...


class AlarmLine:
    """All alarms of one length. Each rings once, if it is not unset before."""

    def __init__(self, delay_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self._delay_s = delay_s
        self._loop = loop
        self._due_s: dict[Alarmed, float] = {}
        """On the event loop's clock; the first to be set is the first to be due."""
        self._timer: asyncio.TimerHandle | None = None
        """Of somebody who was at the head once: where that one is gone, whoever is there now is looked at."""

    def __len__(self) -> int:
        return len(self._due_s)

    def set(self, whom: Alarmed) -> None:
        """From now on. Whoever has set it already may not do so again before it rings or is unset."""
        due_s = self._due_s[whom] = self._loop.time() + self._delay_s
        if self._timer is None:
            self._timer = self._loop.call_at(due_s, self._look)

    def unset(self, whom: Alarmed) -> None:
        """It may have rung, or never have been set."""
        if whom in self._due_s:
            del self._due_s[whom]

    def _look(self) -> None:
        self._timer, now_s = None, self._loop.time() + EARLY_S
        while self._due_s:
            whom, due_s = next(iter(self._due_s.items()))
            if due_s > now_s:
                self._timer = self._loop.call_at(due_s, self._look)
                return
            del self._due_s[whom]
            # On its own: what one may raise is no affair of the others.
            self._loop.call_soon(whom.ring)


class Alarms:
    """The lines of one place where alarms are set. Lengths are few: they come of a configuration."""

    def __init__(self) -> None:
        self._lines: dict[float, AlarmLine] = {}

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """They ring on that which runs when it is asked for first: to ask which one runs is a system call
        (getpid, up to Python 3.11)."""
        return asyncio.get_running_loop()

    def line(self, delay_s: float) -> AlarmLine:
        """It begins with the first look."""
        if delay_s not in self._lines:
            self._lines[delay_s] = AlarmLine(delay_s, self.loop)
        return self._lines[delay_s]
