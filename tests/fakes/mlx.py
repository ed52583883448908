"""A fake `mlx_lm.server` on a real socket, over HTTP/1.0 as the real one: a body ends with its connection.

It refuses what the real one refuses, in its words, and ignores what that ignores; an answer that fails under
way just ends, and so does its generating thread, for good, at what ends the real one's. It takes as many
requests as come, but works on them one after the other.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from tests.fakes import mlx_words
from tests.fakes.answers import Answer, Refusal
from tests.fakes.provider import Asked, Said


class FakeMlx:
    """`async with FakeMlx() as fake`, then point a pool at `fake.url`. The last answer stays."""

    def __init__(self, *answers: Said, cut: int = 1_000_000) -> None:
        """`cut` is how many bytes of a stream are sent at a time."""
        self._answers: list[Said] = list(answers) or [Answer(text=("Hello",))]
        self._cut = cut
        self._busy = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked: list[Asked] = []
        self.models: Sequence[str] | None = ("/models/smol",)
        """None: it has no cache of models, and lists them with an empty body."""
        self.hold_after: int | None = None
        """Bytes of a stream after which nothing more comes."""
        self.dead = False
        """Its generating thread has ended."""
        self.after = ""
        """Text with which the model goes on after its answer: it stops at nothing."""
        self.at_once = self.most_at_once = 0
        """Requests that are here, and the most there were."""
        self.left = asyncio.Event()
        """Set once a client has gone before its answer was complete."""
        self.url = ""

    def answers(self, *answers: Said) -> None:
        """From here on."""
        self._answers = list(answers)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
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
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        sent = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "GET":
            self._get(path, writer)
            return
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with self._busy:
                await self._post(path, headers, sent, reader, writer)
        finally:
            self.at_once -= 1

    def _get(self, path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/health":
            _head(writer, 503 if self.dead else 200, "application/json")
            writer.write(b'{"status": "unavailable"}' if self.dead else b'{"status": "ok"}')
        elif path == "/v1/models":
            _head(writer, 200, "application/json")
            writer.write(b"" if self.models is None else mlx_words.model_list(*self.models))
        else:
            _refuse(writer, mlx_words.no_route())

    async def _post(
        self,
        path: str,
        headers: dict[str, str],
        sent: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if path not in ("/v1/chat/completions", "/v1/completions"):
            _refuse(writer, mlx_words.no_route())
            return
        body = msgspec.json.decode(sent)
        self.asked.append(Asked(path, headers, body))
        refused = complaint(path, body)
        if refused is None and self.dead:
            refused = mlx_words.refusal(404, mlx_words.DEAD)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if refused is not None or isinstance(answer, Refusal):
            _refuse(writer, refused or answer)  # type: ignore[arg-type]
            return
        assert body["stream"] is True, "only streams are made here"
        stream = answer if isinstance(answer, bytes) else self._said(answer, path)
        _head(writer, 200, "text/event-stream")
        self.dead = ends_the_thread(body)
        if not self.dead:
            await self._stream(stream, reader, writer)

    def _said(self, answer: Answer, path: str) -> bytes:
        stream = mlx_words.stream(answer, after=self.after)
        return stream if path.startswith("/v1/chat") else mlx_words.as_text(stream)

    async def _stream(
        self, stream: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def say() -> None:
            sendable = stream if self.hold_after is None else stream[: self.hold_after]
            for start in range(0, len(sendable), self._cut):
                writer.write(sendable[start : start + self._cut])
                await writer.drain()
            if len(sendable) < len(stream):
                await asyncio.Event().wait()

        async def watch() -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
            self.left.set()

        async with asyncio.TaskGroup() as group:
            saying, watching = group.create_task(say()), group.create_task(watch())
            await asyncio.wait((saying, watching), return_when=asyncio.FIRST_COMPLETED)
            saying.cancel()
            watching.cancel()


def complaint(path: str, body: Any) -> Refusal | None:
    """What the real one says to `body`, or None if it begins to answer. Whatever else is in it, it ignores."""
    for name, kinds in (("max_tokens", int), ("temperature", int | float), ("stream", bool)):
        if name in body and not isinstance(body[name], kinds):
            return mlx_words.refusal(400, f"{name} must be of type {kinds}")
    if not isinstance(body.get("logprobs", False), bool):
        return mlx_words.refusal(400, "logprobs must be of type bool")
    if body.get("model", mlx_words.DEFAULT) not in (mlx_words.DEFAULT, "smol"):
        return mlx_words.refusal(404, mlx_words.NOT_FOUND)
    if path == "/v1/completions":
        return None
    messages = body["messages"]
    if not messages:
        return mlx_words.refusal(
            404,
            "Cannot apply chat template to an empty conversation. Provide at least one message.",
        )
    for message in messages:
        content = message.get("content") or ""
        parts = content if isinstance(content, list) else []
        if any(part["type"] != "text" for part in parts):
            return mlx_words.refusal(404, "Only 'text' content type is supported.")
    return None


def ends_the_thread(body: Any) -> bool:
    """It samples in a thread that nothing guards."""
    xtc = body.get("xtc_probability", 0) > 0 and body.get("xtc_threshold", 0.1) > 0.5
    return bool(body.get("temperature")) and (xtc or body.get("top_k", 0) >= mlx_words.VOCABULARY)


def _head(writer: asyncio.StreamWriter, status: int, kind: str) -> None:
    """No length and no chunks."""
    text = (
        f"HTTP/1.0 {status} X\r\nServer: BaseHTTP/0.6 Python/3.11.7\r\n"
        f"Date: Sat, 21 Nov 2026 05:36:45 GMT\r\nContent-type: {kind}\r\n\r\n"
    )
    writer.write(text.encode())


def _refuse(writer: asyncio.StreamWriter, refused: Refusal) -> None:
    _head(writer, refused.status, "application/json")
    writer.write(refused.body)
