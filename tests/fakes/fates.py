"""What a gateway's loop was told of its requests: a spy between recorders and the loop."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.runtime import Gateway
from policies.flight import Flight


class Fates:
    """What the loop was told of how requests ended, in order; and what it was told before."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = gateway.loop
        self.told: list[str] = []
        self.flights: list[Flight] = []
        self.offered: list[Flight] = []
        self.steps: list[str] = []
        for name in ("offered", "dispatched", "first_token", "attempt_failed", "flow_queued"):
            monkeypatch.setattr(self.loop, name, self._noting(name))
        for name in ("cancelled", "refused", "ended"):
            monkeypatch.setattr(self.loop, name, self._ending(name))

    def _noting(self, name: str) -> Callable[..., None]:
        real = getattr(self.loop, name)

        def told(flight: Flight, *given: Any) -> None:
            self.steps.append(name)
            if name == "offered":
                self.offered.append(flight)
            real(flight, *given)

        return told

    def _ending(self, name: str) -> Callable[..., None]:
        real = getattr(self.loop, name)

        def told(flight: Flight, now_s: float, **how: Any) -> None:
            if how.get("shed"):
                self.told.append("shed")
            elif name == "ended":
                self.told.append("failed" if how.get("failed") else "served")
            else:
                self.told.append(name)
            self.flights.append(flight)
            real(flight, now_s, **how)

        return told

    @property
    def all_over(self) -> bool:
        """Each request that was offered has met its fate, and the loop remembers none of them."""
        return not self.loop._flights and not self.loop.live
