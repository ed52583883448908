"""A whole gateway in the test's own event loop, on a real socket, and raw connections to it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from gateway.configuration import load
from gateway.listener import Listener
from gateway.runtime import Gateway

PATIENCE_S = 10.0
"""No test waits longer for anything."""

RULES = """
intents:
  - {name: interactive, match: {header: {x-setpoint-intent: interactive}, default: true}}
  - {name: batch, match: {header: {x-setpoint-intent: batch}}, priority: -10}
rules:
  - {name: no batch at noon, when: request.intent == "batch", then: {reject: {REJECT}}}
  - {name: short, when: request.intent == "interactive", then: {max_tokens: 7}}
"""
"""A policy with a rule that refuses batch work; REJECT becomes its own settings."""


class Answer(msgspec.Struct):
    """One answer. Header names are lower-case; chunked bodies are joined."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True
    """The body ended as HTTP says it should."""

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object, which must be one."""
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= set(error), error
        return error

    @property
    def events(self) -> list[Any]:
        """The data of SSE events: decoded JSON, or `[DONE]`."""
        datas = [e.split(b"data: ", 1)[1] for e in self.body.split(b"\n\n") if b"data: " in e]
        return [d.decode() if d == b"[DONE]" else msgspec.json.decode(d) for d in datas]


class Line:
    """A client connection on which a test says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        return Answer(int(first.split(" ")[1]), headers, b"")

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next final answer."""
        answer = await self.head()
        if bodiless or answer.status < 200 or answer.status == 204:
            return answer
        async with asyncio.timeout(PATIENCE_S):
            if "chunked" in answer.headers.get("transfer-encoding", ""):
                await self._chunks(answer)
            elif "content-length" in answer.headers:
                answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
            else:
                answer.body = await self.reader.read()
        return answer

    async def _chunks(self, answer: Answer) -> None:
        while True:
            try:
                size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
                data = await self.reader.readexactly(size + 2)
            except (asyncio.IncompleteReadError, ConnectionError):
                answer.complete = False
                return
            if size == 0:
                return
            answer.body += data[:-2]

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(mark)

    async def ends(self) -> bytes:
        """What still comes until the gateway closes the connection, however it does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.reader.read()
        except ConnectionError:
            return b""


class Edge:
    """A gateway that listens."""

    def __init__(self, gateway: Gateway, listener: Listener) -> None:
        self.gateway = gateway
        self.listener = listener
        self.desk = listener.desk
        self._desk = asyncio.get_running_loop().create_task(listener.desk.run())
        self.port = int(listener.url.rpartition(":")[2])

    async def connect(self) -> Line:
        return Line(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        """One request on a connection of its own. `x_request_id="a"` is the header `x-request-id`."""
        async with await self.connect() as line:
            line.send(request(method, path, body, **headers))
            return await line.answer(bodiless=method == "HEAD")

    async def chat(self, *, path: str = "/v1/chat/completions", **members: Any) -> Answer:
        return await self.ask("POST", path, chat_body(**members))

    async def counted(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have `labels`."""
        from prometheus_client.parser import text_string_to_metric_families

        text = self.gateway.metrics.exposition().decode()
        samples = (s for f in text_string_to_metric_families(text) for s in f.samples)
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )

    async def aclose(self) -> None:
        self.desk.cut()
        self.desk.close()
        await self._desk
        await self.listener.close()
        await self.gateway.aclose()


async def start_edge(folder: Path, config: str = "", policies: str | None = None) -> Edge:
    """A gateway by configuration text; `policies` is the text of its policy file."""
    if policies is not None:
        (folder / "policies.yaml").write_text(policies)
        config += "\npolicies: policies.yaml\n"
    file = folder / "setpoint.yaml"
    file.write_text(config)
    gateway = Gateway(load(file, env={}))
    await gateway.health.first_look()
    return Edge(gateway, await Listener.start(gateway, "127.0.0.1", 0))


async def eventually(holds: Callable[[], bool]) -> None:
    """Return as soon as `holds`. For what only shows from outside: no event tells it."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


def chat_body(**members: Any) -> bytes:
    asked = {"model": "served", "messages": [{"role": "user", "content": "Hi"}], **members}
    return msgspec.json.encode({k: v for k, v in asked.items() if v is not ...})


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """One HTTP/1.1 request in bytes."""
    named = {"host": "setpoint", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if body is not None:
        named.setdefault("content-length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in named.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
