"""What can wait until the event loop has done all that was ready: writes, one behind the other, and then the books.

A write to a socket wakes whoever reads there, and where that one sleeps the kernel takes twice as long as where it
is up already; and code that runs several times in a row finds itself in the processor's caches. So with several
requests under way, what they write goes out together (8% of a request's CPU time at 16 at once), and what has to be
counted and written down of each is done when its answer is out (5%, and the answer does not wait for it). Must stay
true: everything given is done once, in its order, by the end of the loop's next round; and one that fails
takes none of the others with it.
"""

import asyncio
from collections.abc import Callable
from functools import cached_property

from gateway import logs

Action = Callable[[], None]
MOST = 16
"""So many are done at once: with a thousand requests ready, the first need not wait for the last."""


class Afterwards:
    """One event loop's."""

    def __init__(self) -> None:
        self.under_way = 0
        """Requests that are being answered; told by whoever answers them. A write of the only one goes out at once:
        it would wait for nobody."""
        self._writes: list[Action] = []
        self._books: list[Action] = []
        self._is_due = False

    def write(self, action: Action) -> None:
        """Do what writes to a socket, now or soon."""
        if self.under_way < 2:
            action()
        else:
            self._writes.append(action)
            self._remember(self._writes)

    def book(self, action: Action) -> None:
        """Do what nobody waits for, soon, and after what is to be written before."""
        self._books.append(action)
        self._remember(self._books)

    def flush(self) -> None:
        """Do all of it now."""
        while self._writes or self._books:
            actions = [*self._writes, *self._books]
            self._writes.clear()
            self._books.clear()
            for action in actions:
                try:
                    action()
                except Exception as exc:
                    logs.failure("bug", exc)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _remember(self, actions: list[Action]) -> None:
        if len(actions) >= MOST:
            self.flush()
        elif not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._at_the_end)

    def _at_the_end(self) -> None:
        self._is_due = False
        self.flush()
