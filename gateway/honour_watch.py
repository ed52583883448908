"""Does llm-d do what the intents ask of it? Its endpoint pickers' counters are read, and changes are told.

`policies.honour` judges; here a look is taken every few seconds, bounded in time and size. What must
stay true: silence proves nothing, so an address that does not answer changes no verdict and is logged
once; each change to or from "not honoured" is told once, as a decision.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from adapters.dialect import WireRequest
from adapters.llmd_metrics import priorities_counted
from adapters.transport import Transport
from contracts.control import LoopDecision
from contracts.errors import UpstreamFault
from contracts.policy import Intent
from gateway import logs
from gateway.upstream import fetch
from policies.honour import Honour, HonourState
from policies.loop import Loop

LOOK_S = 5.0
SCRAPE_TIMEOUT_S = 2.0
SCRAPE_BYTES = 4 * 1024 * 1024
"""An endpoint picker counts by tenant, up to a thousand of them. Reading as much takes about 25 ms."""
_WORDS = {
    "not_honoured": "llm-d does not honour {intent} in {pool}: {why}",
    "unconfirmed": "it is no longer known whether llm-d honours {intent} in {pool}: {why}",
    "honoured": "llm-d honours {intent} in {pool}: {why}",
}


class HonourWatch:
    """`honours` by pool; `sources` are where the metrics of some of them are, each with its path."""

    def __init__(
        self,
        loop: Loop,
        honours: Mapping[str, Honour],
        *,
        intents: Callable[[], Mapping[str, Intent]],
        sources: Mapping[str, tuple[Transport, str]],
        clock: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._honours = honours
        self._intents = intents
        self._sources = sources
        self._clock = clock
        self._silence: dict[str, str] = {}
        """Why a pool's counters could not be read the last time."""
        self._broken: set[tuple[str, str]] = set()
        """(pool, intent) that were told as not honoured."""

    async def run(self) -> None:
        """Look for ever. Cancel to stop."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Read all counters, side by side, and tell what has changed."""
        async with asyncio.TaskGroup() as group:
            for pool, (transport, path) in self._sources.items():
                group.create_task(self._scrape(pool, transport, path))
        self.tell()

    def states(self, intent: str) -> dict[str, HonourState]:
        """By pool, whether an intent is honoured there, as far as it can be seen."""
        wanted = self._intents().get(intent)
        objective = (wanted.llmd_objective if wanted else None) or intent
        return {pool: honour.state(objective) for pool, honour in self._honours.items()}

    def tell(self) -> None:
        """Each change to or from "not honoured", once."""
        broken = set()
        for name in self._intents():
            for pool, state in self.states(name).items():
                is_broken = state.verdict == "not_honoured"
                if is_broken:
                    broken.add((pool, name))
                if is_broken != ((pool, name) in self._broken):
                    self._note(name, pool, state)
        self._broken = broken

    def _note(self, intent: str, pool: str, state: HonourState) -> None:
        words = _WORDS[state.verdict].format(intent=intent, pool=pool, why=state.why)
        self._loop.note(
            LoopDecision(
                seq=0, at_s=self._clock(), kind="honour", intent=intent, pool=pool, words=words
            )
        )

    async def _scrape(self, pool: str, transport: Transport, path: str) -> None:
        request = WireRequest(method="GET", path=path, headers=(("accept", "text/plain"),))
        try:
            head, body = await fetch(
                transport, request, timeout_s=SCRAPE_TIMEOUT_S, max_bytes=SCRAPE_BYTES
            )
        except UpstreamFault as exc:
            self._heard(pool, exc.message, logging.WARNING)
            return
        if head.status != 200:
            self._heard(pool, f"it answers with status {head.status}", logging.WARNING)
            return
        counted = priorities_counted(body)
        if counted is None:  # as before the first request, so it is no reason to warn
            why = "it counts no requests by priority: flow control is off, or has seen none yet"
            self._heard(pool, why, logging.INFO)
            return
        # Stamped with the end: what was sent while it counted is not said to be missing.
        self._honours[pool].scraped(counted, self._clock())
        self._heard(pool, "", logging.INFO)

    def _heard(self, pool: str, silence: str, level: int) -> None:
        """Log what has changed about an address; it may be silent for days."""
        if silence == self._silence.get(pool, ""):
            return
        self._silence[pool] = silence
        event = "picker_metrics_unread" if silence else "picker_metrics_read"
        logs.event(level, event, pool_id=pool, reason=silence or None)

    async def aclose(self) -> None:
        for transport, _ in self._sources.values():
            await transport.aclose()
