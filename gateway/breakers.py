"""The circuit breakers of one pool: which endpoints to go round, and what becomes known of them.

`policies.breaker` says when; this knows the clock, and writes the log line. Endpoints are known by their index.
"""

import logging
from collections.abc import Callable

from contracts.errors import GatewayError
from gateway import logs
from policies.breaker import Breaker, BreakerSettings, breaks


class Breakers:
    """One pool's. Work that was `given` has one end: `ended`, `overtaken` or `abandoned`."""

    def __init__(
        self,
        settings: BreakerSettings,
        *,
        pool_id: str,
        engine: str,
        endpoints: int,
        clock: Callable[[], float],
    ) -> None:
        self._pool_id, self._engine = pool_id, engine
        self._clock = clock
        self._breakers = [Breaker(settings) for _ in range(endpoints)]
        self.unwell: set[int] = set()
        """Those that are not closed: none, as nearly always."""

    def shuns(self, index: int) -> bool:
        """Whether it is to be left alone now, if any other can be had."""
        return index in self.unwell and not self._breakers[index].allows(self._clock())

    def given(self, index: int) -> bool:
        """Work goes there. Whether it is the probe that tells if it is well again."""
        return index in self.unwell and self._breakers[index].sent(self._clock())

    def ended(self, index: int, error: GatewayError | None, *, probe: bool) -> None:
        """An attempt there came to its end, well or with an error."""
        breaker = self._breakers[index]
        if error is None:
            breaker.succeeded()
            if index in self.unwell:
                self.unwell.discard(index)
                self._tell(logging.INFO, "breaker_closed", index)
        elif not breaks(error):
            breaker.abandoned(probe=probe)
        elif breaker.failed(self._clock(), probe=probe):
            self._opened(index, error.code)

    def overtaken(self, index: int, *, probe: bool) -> None:
        """An attempt there lost its race against one that began later."""
        if self._breakers[index].overtaken(self._clock(), probe=probe):
            self._opened(index, "overtaken")

    def abandoned(self, index: int, *, probe: bool) -> None:
        """An attempt there was given up, and nothing is known by it."""
        self._breakers[index].abandoned(probe=probe)

    def _opened(self, index: int, reason: str) -> None:
        self.unwell.add(index)
        self._tell(logging.WARNING, "breaker_opened", index, reason=reason)

    def _tell(self, level: int, what: str, index: int, **fields: object) -> None:
        replica = f"{self._pool_id}/{index + 1}"
        logs.event(
            level,
            what,
            pool_id=self._pool_id,
            replica_id=replica,
            engine=self._engine,
            **fields,
        )
