"""A client of `/v1/tasks` on a real socket: it submits, reads event by event, and cancels."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from tests.fakes.edge import PATIENCE_S, Answer, Edge, Line, request
from tests.fakes.scripted_engine import Call


class Told(msgspec.Struct):
    """One event of a task's stream."""

    id: int
    name: str
    data: dict[str, Any]


class Reader:
    """A stream of a task's events. `head` is there once it is entered."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._text = b""
        self._over = False
        self.head = Answer(0, {}, b"")
        self.pings = 0

    async def __aenter__(self) -> Self:
        self.head = await self._line.head()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._line.writer.transport.abort()

    async def next(self) -> Told | None:
        """The next event; None at the end of the stream."""
        while True:
            while b"\r\n\r\n" not in self._text:
                if self._over:
                    return None
                await self._chunk()
            block, _, self._text = self._text.partition(b"\r\n\r\n")
            if block.startswith(b":"):
                self.pings += 1
                continue
            fields = dict(line.split(": ", 1) for line in block.decode().split("\r\n"))
            return Told(int(fields["id"]), fields["event"], msgspec.json.decode(fields["data"]))

    async def all(self) -> list[Told]:
        """What still comes, to the end."""
        return [told async for told in self._each()]

    async def until(self, name: str) -> list[Told]:
        """What comes up to the first event of that name, and it."""
        seen: list[Told] = []
        async for told in self._each():
            seen.append(told)
            if told.name == name:
                return seen
        raise AssertionError(f"no {name} came: {seen}")

    async def _each(self) -> AsyncIterator[Told]:
        while (told := await self.next()) is not None:
            yield told

    async def _chunk(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            size = int((await self._line.reader.readuntil(b"\r\n"))[:-2], 16)
            data = await self._line.reader.readexactly(size + 2)
        self._over = size == 0
        self._text += data[:-2]


class Tasks:
    """The tasks of one gateway, as one caller sees them."""

    def __init__(self, edge: Edge, token: str | None = None) -> None:
        self._edge = edge
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def submit(self, *, key: str | None = None, **members: Any) -> Answer:
        """A chat, unless `members` say otherwise; `...` leaves one out."""
        asked = {"model": "served", "messages": [{"role": "user", "content": "Hi"}], **members}
        body = msgspec.json.encode({k: v for k, v in asked.items() if v is not ...})
        headers = {} if key is None else {"idempotency_key": key}
        return await self._edge.ask("POST", "/v1/tasks", body, **self._headers, **headers)

    async def accepted(self, **members: Any) -> str:
        """The id of a task that must be taken."""
        answer = await self.submit(**members)
        assert answer.status == 202, answer.body
        task_id: str = answer.json["task_id"]
        return task_id

    async def look(self, task_id: str) -> Any:
        answer = await self._edge.ask("GET", f"/v1/tasks/{task_id}", **self._headers)
        assert answer.status == 200, answer.body
        return answer.json

    async def get(self, path: str = "") -> Answer:
        return await self._edge.ask("GET", f"/v1/tasks{path}", **self._headers)

    async def cancel(self, task_id: str) -> Answer:
        return await self._edge.ask("POST", f"/v1/tasks/{task_id}/cancel", **self._headers)

    @asynccontextmanager
    async def read(self, task_id: str, query: str = "", **headers: str) -> AsyncIterator[Reader]:
        line = await self._edge.connect()
        line.send(request("GET", f"/v1/tasks/{task_id}/stream{query}", **self._headers, **headers))
        async with Reader(line) as reader:
            yield reader

    async def ended(self, task_id: str) -> Any:
        """How it looks once it has ended."""
        async with self.read(task_id) as reader:
            await reader.all()
        return await self.look(task_id)


class Puppet:
    """An engine that says what the test tells it, when it does: a script for `ScriptedEngine`."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._over: dict[int, asyncio.Event] = {}
        self.asked = 0

    async def __call__(self, call: Call) -> None:
        self.asked += 1
        over = self._over[id(call)] = asyncio.Event()
        await call.head()
        self._calls.put_nowait(call)
        await over.wait()

    async def call(self) -> Call:
        """The next request that the engine was asked."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._calls.get()

    async def finish(self, call: Call) -> None:
        await call.finish()
        self._over[id(call)].set()

    async def answer(self, *pieces: str) -> None:
        """The next request, from its first piece to its end."""
        call = await self.call()
        for piece in pieces:
            await call.piece(piece)
        await self.finish(call)


def text(events: list[Told]) -> str:
    return "".join(told.data["t"] for told in events if told.name == "token")


def names(events: list[Told]) -> list[str]:
    return [told.name for told in events]
