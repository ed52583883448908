"""A request at a pool's door, until it has a place or is turned away."""

import asyncio
from collections.abc import Collection
from typing import Protocol

import msgspec

from contracts.errors import GatewayError
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


class Entry(msgspec.Struct, eq=False):
    """Take the place that is `given`; or await `slot` (raises QueueFull, QueueTimeout, TaskExpired,
    DeadlineUnreachable, NoReadyBackend); or `leave`. Its pool answers it once: it will `give`, or `refuse`."""

    pool: Door
    request: int
    """Its number in the pool's queue."""
    given: Slot | None = None
    avoid: Collection[Endpoint] = ()
    session: Session | None = None
    refused: GatewayError | None = None
    _slot: "asyncio.Future[Slot] | None" = None
    """Made when somebody waits: where a place is free nobody does."""

    @property
    def waits(self) -> bool:
        """Neither given a place nor refused one, and whoever asked is still there."""
        answered = self.given is not None or self.refused is not None
        return not answered and (self._slot is None or not self._slot.done())

    @property
    def slot(self) -> "asyncio.Future[Slot]":
        if self._slot is None:
            self._slot = asyncio.get_running_loop().create_future()
            if self.given is not None:
                self._slot.set_result(self.given)
            elif self.refused is not None:
                self._slot.set_exception(self.refused)
        return self._slot

    def give(self, slot: Slot) -> None:
        self.given = slot
        if self._slot is not None:
            self._slot.set_result(slot)

    def refuse(self, error: GatewayError) -> None:
        self.refused = error
        if self._slot is not None:
            self._slot.set_exception(error)

    def place(self) -> Place | None:
        """Where it stands now in the pool's queue. None: it was refused, or it has ended."""
        return self.pool.place(self.request)

    def leave(self) -> None:
        """The caller is gone: the place is free again, whether it was waiting or just admitted."""
        if self.given is not None:
            self.given.release()
        else:
            self.slot.cancel()
            self.pool.leave(self.request)
