"""A connection between two processes: in order, in few writes, and nobody waits for who does not read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.workers import link as module
from gateway.workers.link import Link, from_worker, spelled
from gateway.workers.messages import Back, FromWorker, Hello, Lost, Report, Wants


@asynccontextmanager
async def joined(path: Path) -> AsyncIterator[tuple[Link[FromWorker], Link[FromWorker]]]:
    met: asyncio.Future[Link[FromWorker]] = asyncio.get_running_loop().create_future()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set_result(Link(reader, writer, from_worker))

    server = await asyncio.start_unix_server(meet, path / "s")
    mine: Link[FromWorker] = Link(*await asyncio.open_unix_connection(path / "s"), from_worker)
    other = await met
    yield mine, other
    mine.close()
    other.close()
    server.close()
    await asyncio.sleep(0)


async def test_messages_arrive_in_order_and_together(tmp_path: Path) -> None:
    async with joined(tmp_path) as (mine, other):
        said = [
            Hello(1, 42, {"pool:a": {"m": 2}}),
            Wants("pool:a", "m", {-3: 1, 5: 2}, 1, ask=7),
            Back("pool:a", "m", 1, 9),
        ]
        for message in said:
            mine.say(message)
        mine.send(spelled(Report({}, [(0, 1, "x", None, 0.5)])))
        heard = other.heard()
        assert await anext(heard) == said
        assert await anext(heard) == [Report({}, [(0, 1, "x", None, 0.5)])]
        mine.close()
        assert [frame async for frame in heard] == []


@pytest.mark.req("SEC-5")
async def test_a_peer_that_does_not_read_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_BYTES", 1 << 20)
    async with joined(tmp_path) as (mine, _):
        for _ in range(5000):
            mine.say(Lost("x" * 1000, 0))
        mine.flush()
        mine.say(Lost("late", 0))
        mine.flush()
        assert mine._writer.is_closing()


@pytest.mark.req("SEC-5")
async def test_a_frame_that_is_too_large_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 100)
    async with joined(tmp_path) as (mine, other):
        mine.say(Lost("x" * 1000, 0))
        assert [frame async for frame in other.heard()] == []
