"""The demo's load: streamed chat completions over real sockets, each at its own time, whatever became of
those before it.

Must stay true: as many requests as the schedule has and no more, each given up after `REQUEST_S`, all of
them `DRAIN_S` after the last was sent. What the numbers mean is not decided here.
"""

import asyncio
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from adapters.sse import EventTooLarge, SSEDecoder
from gateway.demo.deployment import BIG
from gateway.demo.exchange import Exchange
from gateway.demo.scenario import Arrival

REQUEST_S = 60.0
DRAIN_S = 30.0
MAX_CONNECTIONS = 1000
REFUSALS = frozenset({429, 503})
CHARACTERS_PER_TOKEN = 4
WHY_CHARACTERS = 120
_DONE = b"[DONE]"
_WORDS = "What was promised is kept, and what was done for it is said, with whether it has worked. "


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class _Error(msgspec.Struct, frozen=True):
    code: str | int | None = None


class _Chunk(msgspec.Struct, frozen=True):
    """An event of the stream, or the body of an error."""

    model: str = ""
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


_chunk = msgspec.json.Decoder(_Chunk)


def body(arrival: Arrival) -> dict[str, object]:
    """The request as JSON. `ignore_eos`: the answer is as long as the schedule says."""
    characters = arrival.prompt_tokens * CHARACTERS_PER_TOKEN
    return {
        "model": BIG.name,
        "messages": [
            {"role": "user", "content": (_WORDS * (characters // len(_WORDS) + 1))[:characters]}
        ],
        "max_tokens": arrival.output_tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


class Load:
    """The requests of one run. `exchanges` grows as they are sent, and can be read at any time."""

    def __init__(self, url: str, schedule: Sequence[Arrival], clock: Callable[[], float]) -> None:
        """`clock` tells the seconds since the run's start."""
        self.exchanges: list[Exchange] = []
        self._url = f"{url}/v1/chat/completions"
        self._schedule = schedule
        self._clock = clock

    async def run(self) -> None:
        """Send them all, and wait for the last answer or for DRAIN_S."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_S)
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            try:
                async with asyncio.timeout(None) as until, asyncio.TaskGroup() as group:
                    for arrival in self._schedule:
                        await asyncio.sleep(max(arrival.at_s - self._clock(), 0.0))
                        exchange = Exchange(arrival=arrival)
                        self.exchanges.append(exchange)
                        group.create_task(self._ask(session, exchange))
                    until.reschedule(asyncio.get_running_loop().time() + DRAIN_S)
            except TimeoutError:
                for exchange in self.exchanges:
                    if exchange.fate == "open":
                        _end(exchange, f"no end {DRAIN_S:g} s after the load's")

    async def _ask(self, session: aiohttp.ClientSession, exchange: Exchange) -> None:
        exchange.sent_s = self._clock()
        try:
            async with session.post(self._url, json=body(exchange.arrival)) as response:
                if response.status == 200:
                    await self._read(exchange, response)
                else:
                    _decline(exchange, response.status, await response.read())
        except TimeoutError:
            _end(exchange, f"no end within {REQUEST_S:g} s")
        except (aiohttp.ClientError, EventTooLarge, msgspec.MsgspecError, OSError) as exc:
            _end(exchange, f"{type(exc).__name__}: {exc}"[:WHY_CHARACTERS])

    async def _read(self, exchange: Exchange, response: aiohttp.ClientResponse) -> None:
        events, finished = SSEDecoder(), False
        async for data in response.content.iter_any():
            now_s = self._clock()
            for event in events.feed(data):
                if event.data == _DONE:
                    _end(exchange, "" if finished else "it ended in the middle")
                    return
                chunk = _chunk.decode(event.data)
                if chunk.error is not None:
                    _end(exchange, str(chunk.error.code))
                    return
                finished = _note(exchange, chunk, now_s) or finished
        _end(exchange, "the stream broke off")


def _note(exchange: Exchange, chunk: _Chunk, now_s: float) -> bool:
    """Take down what a chunk says. Returns whether it is the last with text."""
    exchange.model = chunk.model
    for choice in chunk.choices:
        if choice.delta.content:
            exchange.first_s = now_s if exchange.first_s is None else exchange.first_s
            exchange.last_s = now_s
            exchange.output_tokens += 1
    if chunk.usage is not None:
        exchange.prompt_tokens = chunk.usage.prompt_tokens
        exchange.output_tokens = chunk.usage.completion_tokens
    return any(choice.finish_reason is not None for choice in chunk.choices)


def _decline(exchange: Exchange, status: int, answer: bytes) -> None:
    """An answer that is an error."""
    try:
        error = _chunk.decode(answer).error
    except msgspec.MsgspecError:
        error = None
    exchange.why = str(error.code if error and error.code else status)
    exchange.fate = "refused" if status in REFUSALS else "failed"


def _end(exchange: Exchange, why: str) -> None:
    exchange.fate, exchange.why = "failed" if why else "answered", why
