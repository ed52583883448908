"""What keeping a session together saves: prompt tokens that real llama.cpp servers have to read.

    python -m tests.bench.affinity [--quick]

One server, two ways to start it and three ways to give it slots; then two servers behind the gateway, with
and without names for the sessions. Token counts hang on the order of requests more than on the machine,
so that a few runs tell. Prints the tables of docs/affinity.md.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import aiohttp

from tests.support.llama_server import MODEL, LlamaServer
from tests.support.setpoint_server import Gateway

SLOTS = 4
ANSWER_TOKENS = 4
COMMON = ("-c", "8192", "-t", "1")
"""One thread each: threads that wait for one another on a shared machine take ten times as long."""
STARTS: dict[str, tuple[str, ...]] = {
    "`-np 4`": (),
    "as it comes (no `-np`)": ("-np", "-1"),
}
_WORDS = ("cargo", "fuel", "berth", "crew", "water", "customs", "tide", "pilot", "anchor", "signal")


class Load(NamedTuple):
    """Conversations of some turns, and others that ask once each time; so many at a time. `own`: each
    conversation has instructions of its own, else all have the same."""

    name: str
    sessions: int
    turns: int
    at_once: int
    others: int = 0
    own: bool = False


class Read(NamedTuple):
    """What the servers did."""

    requests: int
    evaluated: int
    cached: int


# -- who chooses the slot ---------------------------------------------------------------


class Chooser(Protocol):
    """Gives a request a slot of the server, or None to leave that to the server."""

    def take(self, session: int | None, *, first: bool) -> int | None: ...

    def give_back(self, slot: int | None) -> None: ...


class Servers:
    """The server itself: the slot with the longest common beginning, else the one unused for the longest."""

    def take(self, session: int | None, *, first: bool) -> int | None:
        return None

    def give_back(self, slot: int | None) -> None:
        pass


class FirstTurn:
    """A session's first turn gets a slot that no session was given, while there is one and nothing else
    runs; all other requests are the server's to place."""

    def __init__(self) -> None:
        self._given = 0
        self._running = 0

    def take(self, session: int | None, *, first: bool) -> int | None:
        self._running += 1
        if session is None or not first or self._running > 1 or self._given == SLOTS:
            return None
        self._given += 1
        return self._given - 1

    def give_back(self, slot: int | None) -> None:
        self._running -= 1


class Always:
    """Every request is given a slot: a session its own, as long as nobody else was given it since; others
    the free one unused for the longest, those without a session first."""

    def __init__(self) -> None:
        self._owner: dict[int, int | None] = {}
        self._used = dict.fromkeys(range(SLOTS), 0)
        self._busy: set[int] = set()
        self._turn = 0

    def take(self, session: int | None, *, first: bool) -> int | None:
        self._turn += 1
        free = [slot for slot in range(SLOTS) if slot not in self._busy]
        mine = [slot for slot in free if session is not None and self._owner.get(slot) == session]
        slot = mine[0] if mine else min(free, key=self._worth)
        self._owner[slot], self._used[slot] = session, self._turn
        self._busy.add(slot)
        return slot

    def _worth(self, slot: int) -> tuple[bool, int]:
        return self._owner.get(slot) is not None, self._used[slot]

    def give_back(self, slot: int | None) -> None:
        assert slot is not None
        self._busy.remove(slot)


# -- traffic ----------------------------------------------------------------------------


class Traffic:
    """One run of a load against `url`. Sessions are named in a header if `named`."""

    def __init__(self, url: str, load: Load, chooser: Chooser, *, rules: int, named: bool) -> None:
        self._url, self._load, self._chooser, self._named = url, load, chooser, named
        self._gate = asyncio.Semaphore(load.at_once)
        self._read = Read(0, 0, 0)
        told = (f"Rule {n}: name the berth, the tide and officer {n * 7}." for n in range(rules))
        self._rules = "You are the assistant of a harbour office. " + " ".join(told)

    async def run(self) -> Read:
        """All of it; sessions take turns."""
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            for number in range(self._load.sessions):
                group.create_task(self._session(http, number))
            for number in range(self._load.others):
                group.create_task(self._other(http, number))
        return self._read

    async def _session(self, http: aiohttp.ClientSession, number: int) -> None:
        draw = random.Random(number)
        rules = f"You are number {number}. {self._rules}" if self._load.own else self._rules
        messages = [{"role": "system", "content": rules}]
        for turn in range(self._load.turns):
            words = " ".join(draw.choice(_WORDS) for _ in range(30))
            messages.append({"role": "user", "content": f"Ship {draw.randrange(9999)}: {words}"})
            answer = await self._ask(http, messages, session=number, first=turn == 0)
            messages.append({"role": "assistant", "content": answer})

    async def _other(self, http: aiohttp.ClientSession, number: int) -> None:
        draw = random.Random(1000 + number)
        rules = self._rules if number % 2 else "You are a poet."
        for _ in range(self._load.turns):
            words = " ".join(draw.choice(_WORDS) for _ in range(30))
            messages = [{"role": "system", "content": rules}, {"role": "user", "content": words}]
            await self._ask(http, messages, session=None, first=False)

    async def _ask(
        self,
        http: aiohttp.ClientSession,
        messages: list[dict[str, str]],
        *,
        session: int | None,
        first: bool,
    ) -> str:
        async with self._gate:
            slot = self._chooser.take(session, first=first)
            body: dict[str, Any] = {"model": MODEL, "messages": messages, "temperature": 0}
            body["max_tokens"] = ANSWER_TOKENS
            if slot is not None:
                body["id_slot"] = slot
            headers = {"x-session-id": f"s{session}"} if self._named and session is not None else {}
            path = f"{self._url}/v1/chat/completions"
            async with http.post(path, json=body, headers=headers) as response:
                answer = await response.json()
            self._chooser.give_back(slot)
        usage = answer["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        requests, evaluated, before = self._read
        self._read = Read(
            requests + 1, evaluated + usage["prompt_tokens"] - cached, before + cached
        )
        return str(answer["choices"][0]["message"]["content"])


# -- the tables -------------------------------------------------------------------------


def one_server(starts: Iterable[str], loads: Sequence[Load], rules: int) -> list[str]:
    """Rows: how it is started, load, and per chooser the tokens that were read."""
    rows = []
    for start in starts:
        flags = STARTS[start]
        for load in loads:
            cells = []
            for chooser in (Servers(), FirstTurn(), Always()):
                with tempfile.TemporaryDirectory() as folder:
                    server = LlamaServer(Path(folder), *COMMON, *flags, slots=SLOTS)
                    try:
                        server.start()
                        traffic = Traffic(server.url, load, chooser, rules=rules, named=False)
                        read = asyncio.run(traffic.run())
                    finally:
                        server.stop()
                cells.append(f"{read.evaluated} ({read.cached})")
            rows.append(f"| {start} | {load.name} | {read.requests} | {' | '.join(cells)} |")
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def two_servers(loads: Sequence[Load], rules: int) -> list[str]:
    """Rows: load, and with and without names what was read."""
    rows = []
    for load in loads:
        cells = []
        for named in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                where = Path(folder)
                servers = [LlamaServer(where, *COMMON, slots=SLOTS, name=n) for n in "ab"]
                urls = ", ".join(server.url for server in servers)
                config = f"pools: [{{id: local, engine: llamacpp, endpoints: [{urls}]}}]"
                gateway = Gateway(where, config)
                try:
                    for server in (*servers, gateway):
                        server.start()
                    traffic = Traffic(gateway.url, load, Servers(), rules=rules, named=named)
                    read = asyncio.run(traffic.run())
                finally:
                    for server in (gateway, *servers):
                        server.stop()
            cells.append(f"{read.evaluated} ({read.cached})")
        rows.append(f"| {load.name} | {read.requests} | {' | '.join(cells)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Print both tables. `--quick`: everything runs once, and is too small to judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rules, turns = (1, 2) if quick else (8, 4)
    alone = [
        Load("2 conversations, one request at a time", 2, turns, 1),
        Load("6 conversations, one request at a time", 6, turns, 1),
        Load("3 conversations and 2 others, two at once", 3, turns, 2, others=2),
    ]
    behind = [
        Load("4 conversations, two requests at once", 4, turns, 2),
        Load("8 conversations, three requests at once", 8, turns - 1, 3),
        Load("4 conversations, each with its own instructions, two at once", 4, turns, 2, own=True),
    ]
    print("| llama-server is started | load | requests | its own choice | first turns | always |")
    print("|---|---|---:|---:|---:|---:|")
    starts = list(STARTS)[:1] if quick else list(STARTS)
    print("\n".join(one_server(starts, alone[:1] if quick else alone, rules)))
    print("\n| two servers | requests | without names | with `x-session-id` |")
    print("|---|---:|---:|---:|")
    print("\n".join(two_servers([alone[0]] if quick else behind, rules)))


if __name__ == "__main__":
    main()
