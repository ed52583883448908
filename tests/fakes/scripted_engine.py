"""An OpenAI upstream on a real socket, with faults by script: it may say anything, at any time.

It keeps what it was asked, byte for byte, and notices when its client leaves. One request a
connection, so that every fault is that of one request.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tests.fakes.scripted import DONE, USAGE, chunk

MODELS = ("served",)


class Asked(msgspec.Struct):
    """One request as it came in. Header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Call:
    """One answer under way."""

    def __init__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked = asked
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(
        self, status: int = 200, kind: str = "text/event-stream", extra: str = ""
    ) -> None:
        """A head without a length: the body ends with the connection."""
        text = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\n{extra}\r\n"
        await self.send(text.encode())

    async def piece(self, text: str) -> None:
        await self.send(chunk({"content": text}))

    async def finish(self) -> None:
        await self.send(chunk({}, finish="stop") + USAGE + DONE)


Script = Callable[[Call], Awaitable[None]]


def streams(pieces: Sequence[str] = ("Hel", "lo"), *, gap_s: float = 0.0) -> Script:
    """A healthy stream."""

    async def play(call: Call) -> None:
        await call.head()
        for piece in pieces:
            await call.piece(piece)
            await asyncio.sleep(gap_s)
        await call.finish()

    return play


def refuses(status: int, body: bytes, extra: str = "") -> Script:
    async def play(call: Call) -> None:
        await call.head(status, "application/json", extra)
        await call.send(body)

    return play


def says(body: bytes, kind: str = "application/json") -> Script:
    """A 200 with `body`."""

    async def play(call: Call) -> None:
        await call.head(kind=kind)
        await call.send(body)

    return play


async def is_silent(call: Call) -> None:
    """Takes the request and says nothing."""
    await asyncio.Event().wait()


async def hangs_up(call: Call) -> None:
    """Closes without a word."""


class ScriptedEngine:
    """`await start()`, point a pool at `url`, and `plays` what is to happen; the last script stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.left = asyncio.Event()
        """Set once a client has left before its answer was complete."""
        self.address = ""
        self._scripts: list[Script] = [streams()]
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def plays(self, *scripts: Script) -> None:
        self._scripts = list(scripts)

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            asked = await _read(reader)
            if asked.path == "/v1/models":
                await _list_models(Call(asked, writer))
                return
            self.asked.append(asked)
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            await self._play(script, Call(asked, writer), reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _play(self, script: Script, call: Call, reader: asyncio.StreamReader) -> None:
        async def run() -> None:
            try:
                await script(call)
            except ConnectionError:
                self.left.set()

        async def watch() -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
            self.left.set()

        async with asyncio.TaskGroup() as group:
            playing = group.create_task(run())
            watching = group.create_task(watch())
            await asyncio.wait((playing, watching), return_when=asyncio.FIRST_COMPLETED)
            playing.cancel()
            watching.cancel()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body)


async def _list_models(call: Call) -> None:
    body = msgspec.json.encode({"object": "list", "data": [{"id": name} for name in MODELS]})
    await call.head(kind="application/json")
    await call.send(body)
