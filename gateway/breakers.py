"""The circuit breakers of all endpoints: which ones to go round, and what becomes known of them.

`policies.breaker` says when; this knows the endpoints and the clock, and writes the log line.
"""

import logging
from collections.abc import Callable

from contracts.errors import GatewayError
from gateway import logs
from gateway.pools import Endpoint, Pool
from policies.breaker import Breaker, breaks


class Breakers:
    """One gateway's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._breakers: dict[Endpoint, Breaker] = {}

    def of(self, pool: Pool, endpoint: Endpoint) -> Breaker:
        breaker = self._breakers.get(endpoint)
        if breaker is None:
            breaker = self._breakers[endpoint] = Breaker(pool.options.breaker)
        return breaker

    def shunned(self, pool: Pool) -> list[Endpoint]:
        """Ready endpoints that are to be left alone, if any other can be had."""
        if not self._breakers:
            return []
        now_s = self._clock()
        return [e for e in pool.ready if not self.of(pool, e).allows(now_s)]

    def open(self, pool: Pool) -> bool:
        """Whether all that is ready there is to be left alone."""
        shunned = self.shunned(pool)
        return bool(shunned) and len(shunned) == len(pool.ready)

    def sent(self, pool: Pool, endpoint: Endpoint) -> None:
        self.of(pool, endpoint).sent(self._clock())

    def ended(self, pool: Pool, endpoint: Endpoint, error: GatewayError | None) -> None:
        """An attempt there came to its end, well or with an error."""
        breaker = self.of(pool, endpoint)
        before = breaker.state(self._clock())
        if error is None:
            breaker.succeeded()
        elif not breaks(error):
            breaker.abandoned()
        elif breaker.failed(self._clock()):
            self._tell(logging.WARNING, "breaker_opened", pool, endpoint, reason=error.code)
        if before != "closed" and breaker.state(self._clock()) == "closed":
            self._tell(logging.INFO, "breaker_closed", pool, endpoint)

    def abandoned(self, pool: Pool, endpoint: Endpoint) -> None:
        """An attempt there was given up by its client, or lost a race."""
        self.of(pool, endpoint).abandoned()

    def _tell(
        self, level: int, what: str, pool: Pool, endpoint: Endpoint, **fields: object
    ) -> None:
        replica = f"{pool.id}/{endpoint.index + 1}"
        logs.event(level, what, pool_id=pool.id, replica_id=replica, engine=pool.engine, **fields)
