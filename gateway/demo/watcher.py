"""What the gateway says of itself during a run: how its promise stands, and each decision as it falls.

Two listeners on its own interfaces, `GET /v1/intents` twice a second and `GET /v1/decisions` as a stream.
What its clients get is not looked at here.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from adapters.sse import SSEDecoder
from contracts.control import IntentStatus, LoggedDecision
from contracts.operator_answers import IntentList
from gateway.demo.scenario import INTENT

POLL_S = 0.5
"""Between two looks; between two tries to listen, too."""
CONNECT_S = 5.0
MAX_SIGHTS = 10_000
MAX_DECISIONS = 5_000
_intents = msgspec.json.Decoder(IntentList)
_decision = msgspec.json.Decoder(LoggedDecision)


class Sight(msgspec.Struct, frozen=True):
    """How the promise stood at one time."""

    at_s: float
    status: IntentStatus

    @property
    def rung(self) -> int:
        """Rungs that act."""
        return sum(not action.dry_run for action in self.status.actions)


class Heard(msgspec.Struct, frozen=True):
    """A decision, and when it fell."""

    at_s: float
    decision: LoggedDecision


class Watcher:
    """`sights` and `heard` can be read at any time. `began_at` is the run's start as a Unix time."""

    def __init__(self, url: str, clock: Callable[[], float], began_at: float) -> None:
        self.sights: list[Sight] = []
        self.heard: list[Heard] = []
        self._url = url
        self._clock = clock
        self._began_at = began_at

    async def run(self) -> None:
        """Look and listen until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(_again(lambda: self._look(session)))
            group.create_task(_again(lambda: self._listen(session)))

    async def _look(self, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{self._url}/v1/intents") as response:
            response.raise_for_status()
            statuses = _intents.decode(await response.read()).data
        now_s = self._clock()
        if len(self.sights) < MAX_SIGHTS:
            self.sights += [Sight(now_s, status) for status in statuses if status.intent == INTENT]

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        """Until the stream ends."""
        last = self.heard[-1].decision.seq if self.heard else 0
        headers = {"accept": "text/event-stream", "last-event-id": str(last)}
        events = SSEDecoder()
        async with session.get(f"{self._url}/v1/decisions", headers=headers) as response:
            response.raise_for_status()
            async for data in response.content.iter_any():
                for event in events.feed(data):
                    if event.event == "decision":
                        self._hear(_decision.decode(event.data))

    def _hear(self, decision: LoggedDecision) -> None:
        if len(self.heard) < MAX_DECISIONS:
            fell_at = datetime.datetime.fromisoformat(decision.time).timestamp()
            self.heard.append(Heard(fell_at - self._began_at, decision))


async def _again(work: Callable[[], Awaitable[None]]) -> None:
    """For ever, with pauses; a connection may break."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await work()
        await asyncio.sleep(POLL_S)
