"""A place at one endpoint, from the moment a queue has given it until it is free again."""

from typing import Protocol

import msgspec

from contracts.errors import ConnectFailed, GatewayError
from gateway.breakers import Breakers
from gateway.endpoint import Endpoint


class Lender(Protocol):
    """The pool that a place belongs to."""

    breakers: Breakers

    def lost(self, endpoint: Endpoint) -> None:
        """Nobody listens there any more."""
        ...

    def free(self, request: int) -> None:
        """The place of this request is free again."""
        ...


class Slot(msgspec.Struct, eq=False):
    """Say what came of the work, if that tells something of its endpoint (`ended`, `overtaken`; the first
    word counts), and then `release`; more than once does no harm."""

    pool: Lender
    ticket: int
    """Its number in the pool's queue."""
    waited_s: float
    endpoint: Endpoint
    shunned: bool = False
    """All that was ready is to be left alone, and so is this."""
    probe: bool = False
    """What comes of the work tells whether its endpoint is well again."""
    _told: bool = False
    _released: bool = False

    def ended(self, error: GatewayError | None) -> None:
        """The work came to its end, well or with an error."""
        if not self._told:
            self._told = True
            self.pool.breakers.ended(self.endpoint.index, error, probe=self.probe)
            if isinstance(error, ConnectFailed):
                self.pool.lost(self.endpoint)

    def overtaken(self) -> None:
        """The work is given up for what began later elsewhere, and was quicker."""
        if not self._told:
            self._told = True
            self.pool.breakers.overtaken(self.endpoint.index, probe=self.probe)

    def release(self) -> None:
        if not self._released:
            self._released = True
            if not self._told:
                self.pool.breakers.abandoned(self.endpoint.index, probe=self.probe)
            self.endpoint.inflight -= 1
            self.pool.free(self.ticket)
