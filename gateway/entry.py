"""A request at a pool's door, until it has a place or is turned away."""

import asyncio
from collections.abc import Collection
from typing import Protocol

from gateway.endpoint import Endpoint
from gateway.slot import Slot
from policies.admission import Place
from policies.affinity import Session


class Door(Protocol):
    """The pool that it asks for a place."""

    def place(self, request: int) -> Place | None:
        """Where it stands now."""
        ...

    def places(self) -> dict[int, Place]:
        """Where everybody stands, by request."""
        ...

    def leave(self, request: int) -> None:
        """Whoever waited, or was just admitted, is gone."""
        ...


class Entry:
    """Await `slot` (raises QueueFull, QueueTimeout, TaskExpired, DeadlineUnreachable, NoReadyBackend), or
    `leave`."""

    def __init__(
        self, pool: Door, request: int, avoid: Collection[Endpoint], session: Session | None
    ) -> None:
        self.pool = pool
        self.request = request
        """Its number in the pool's queue."""
        self.avoid = avoid
        self.session = session
        self.slot: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()

    def place(self) -> Place | None:
        """Where it stands now in the pool's queue. None: it was refused, or it has ended."""
        return self.pool.place(self.request)

    def leave(self) -> None:
        """The caller is gone: the place is free again, whether it was waiting or just admitted."""
        if self.slot.done() and not self.slot.cancelled() and self.slot.exception() is None:
            self.slot.result().release()
        else:
            self.slot.cancel()
            self.pool.leave(self.request)
