"""A whole gateway without its HTTP edge, in virtual time, before two providers that do what a script says.

The model `main` falls back to `spare`; both are asked over OpenAI's wire. The configuration is text, read as an
operator's file is. What a client would read is kept byte for byte.
"""

import asyncio
import itertools
import random
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from adapters.dialect import EndpointState, WireRequest
from adapters.transport import ResponseSink
from contracts.errors import GatewayError
from contracts.events import End, Event, Fault
from gateway.answers import StreamWriter, error_frame
from gateway.attempt import Upstream
from gateway.configuration import load
from gateway.entry import Entry
from gateway.head_lines import read
from gateway.inference import carry_out, decided, identity
from gateway.intake import read_request
from gateway.progress import Progress
from gateway.replies import FoldReply
from gateway.request_record import RequestRecord
from gateway.runtime import Gateway
from tests.fakes.scripted import DONE, Played, Script, ScriptedTransport, chunk, data, end, head

WORDS = tuple(f"word{n} " for n in range(1, 61))
TEXT = "".join(WORDS)
"""What every healthy request is answered with."""
GAP_S = 0.02
PROMPT_TOKENS = 12
USAGE = chunk({}).replace(
    b'"choices":[{"index":0,"delta":{},"finish_reason":null}]',
    b'"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
    % (PROMPT_TOKENS, len(WORDS), PROMPT_TOKENS + len(WORDS)),
)
COST_USD = {
    "main": (PROMPT_TOKENS * 1 + len(WORDS) * 2) / 1e6,
    "spare": (PROMPT_TOKENS * 3 + len(WORDS) * 4) / 1e6,
}
PROFILES = {
    "shipped": "",
    "baseline": "retries: 2, timeouts: {first_token: 10s, idle: 30s, total: 30s}",
}
"""Members of both pools. `shipped`: every time and count is Setpoint's own default. `baseline`: that of the
catalogue, two retries and 30 s for a request or a silent stream; and 10 s for a first token."""
CONFIG = """
pools:
  - {{id: main, engine: openai, endpoint: 'http://main.invalid'{main}}}
  - {{id: spare, engine: openai, endpoint: 'http://spare.invalid'{spare}}}
models:
  - {{name: main, pool: main, quality: 0.9, context: 8192, price: {{input: 1, output: 2}}}}
  - {{name: spare, pool: spare, quality: 0.8, context: 32768, price: {{input: 3, output: 4}}}}
  - {{name: alone, pool: main, upstream: main, quality: 0.9, context: 8192}}
  - {{name: twin, pool: spare, upstream: spare, quality: 0.8, context: 8192}}
routes:
  main: {{targets: [main, spare], resume: continue}}
  twins: {{targets: [main, twin], resume: continue}}
"""
_numbers = itertools.count(1)


def healthy() -> Script:
    """The whole text, and all that belongs to it."""
    last_s = 0.1 + GAP_S * len(WORDS)
    return [*begun(len(WORDS)), data(last_s, chunk({}, finish="stop") + USAGE + DONE), end(last_s)]


def begun(count: int, start_s: float = 0.1) -> list[Any]:
    """A stream's head and its first `count` words."""
    pieces = [data(start_s + GAP_S * n, chunk({"content": w})) for n, w in enumerate(WORDS[:count])]
    return [head(0.05), data(0.05, chunk({"role": "assistant", "content": ""})), *pieces]


class Provider(ScriptedTransport):
    """`plays` what is to happen; the last script stays. One that `refuses_prefill` answers a chat whose last
    message is the assistant's with a 400, as some models do."""

    def __init__(self) -> None:
        super().__init__(healthy())
        self.refuses_prefill: Script | None = None
        self.prefilled = 0

    def plays(self, *scripts: Script) -> None:
        self._scripts = list(scripts)

    def start(self, request: WireRequest, sink: ResponseSink) -> Played:
        messages = msgspec.json.decode(request.body)["messages"]
        self.prefilled += messages[-1]["role"] == "assistant"
        if messages[-1]["role"] == "assistant" and self.refuses_prefill is not None:
            self._scripts.insert(0, self.refuses_prefill)
        return super().start(request, sink)


class _Stream:
    """The client's end of a stream: an AnswerSink that keeps the bytes."""

    keeps_back = False
    patience_s: float | None = 15.0

    def __init__(self, writer: StreamWriter, record: RequestRecord) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._headers = record.headers
        self.opened_with: dict[str, str] | None = None
        self.body = b""
        self.first_content_s: float | None = None
        self.terminals = 0

    async def open(self, progress: Progress) -> None:
        if self.opened_with is None:
            self.opened_with = self._headers(progress)

    def entered(self, entry: Entry) -> None: ...

    async def waiting(self, progress: Progress) -> None:
        await self.open(progress)

    def attach(self, attempt: Upstream, model: str) -> None:
        self._writer.served_by(model)

    def events(self, events: list[Event]) -> None:
        if self.first_content_s is None:
            self.first_content_s = self._loop.time()
        self.terminals += sum(isinstance(event, End | Fault) for event in events)
        self.body += self._writer.write(events)


class Answer(msgspec.Struct, kw_only=True):
    """What a client got, and when. `text` is all content that it read, also before an error."""

    text: str = ""
    model: str | None = None
    usage: dict[str, Any] | None = None
    usd: float | None = None
    error: dict[str, Any] | None = None
    status: int = 200
    done: bool = False
    """It ended as a whole answer does."""
    endings: int = 0
    began_s: float = 0.0
    first_s: float | None = None
    took_s: float = 0.0
    progress: Progress

    def is_whole(self, by: str) -> None:
        """The one thing that a client wants: the whole text, once, said to be of whom it is."""
        assert self.error is None, f"the client read an error: {self.error}"
        assert self.text == TEXT, f"the client read {len(self.text)} of {len(TEXT)} characters"
        assert self.done, "the answer has no proper end"
        assert self.endings == 1, f"{self.endings} endings"
        assert self.model == by, f"it is said to be {self.model}'s"
        served = self.progress.target.model if self.progress.target else None
        assert self.usage is not None
        assert self.usage["completion_tokens"] == len(WORDS)
        assert self.usd == COST_USD[served or ""], f"it is said to cost {self.usd}"
        assert self.progress.fault is None


class Stage:
    """Providers `main` and `spare`, and a gateway before them. For one case; use as a context."""

    def __init__(
        self,
        profile: str,
        *,
        stream: bool,
        main: str = "",
        spare: str = "",
        policies: str | None = None,
    ) -> None:
        """`main` and `spare` are members of the pools, `policies` the text of a policy file."""
        random.seed(0)  # the gateway's jitter; what is asserted holds for any
        own = {
            name: "".join(f", {part}" for part in (PROFILES[profile], said) if part)
            for name, said in (("main", main), ("spare", spare))
        }
        self._loop = asyncio.get_running_loop()
        self.profile, self.stream = profile, stream
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "setpoint.yaml"
            text = CONFIG.format(**own)
            if policies is not None:
                (file.parent / "policies.yaml").write_text(policies)
                text += "policies: policies.yaml\n"
            file.write_text(text)
            self.gateway = Gateway(load(file, env={}), clock=self._loop.time)
        self.main, self.spare = Provider(), Provider()
        for pool, provider in zip(
            self.gateway.pools.values(), (self.main, self.spare), strict=True
        ):
            (endpoint,) = pool.endpoints
            endpoint.transport = provider
            pool.learn(endpoint, EndpointState(live=True, ready=True, why="ok"))

    async def aclose(self) -> None:
        """Nothing of it may still be at work."""
        await asyncio.sleep(2)
        for pool in self.gateway.pools.values():
            assert pool.signals().inflight == 0, f"a place in pool {pool.id} was never given back"
        await self.gateway.aclose()

    @property
    def attempts(self) -> str:
        return f"{len(self.main.requests)} + {len(self.spare.requests)}"

    async def ask(self, model: str = "main", **headers: str) -> Answer:
        """One request, to its end. `x_slo_ttft_ms="5"` is the header `x-slo-ttft-ms`."""
        members: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"model": model, "messages": [{"role": "user", "content": "Say your text."}]}
        infer = read_request(
            msgspec.json.encode(body | (members if self.stream else {})),
            "chat",
            request_id=f"req_{next(_numbers)}",
            key="",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        began_s = self._loop.time()
        record = decided(self.gateway, infer, self.gateway.clock())
        assert isinstance(record, RequestRecord)
        answer = Answer(progress=record.progress, began_s=began_s)
        error: GatewayError | None = None
        async with asyncio.timeout(200):  # nothing hangs
            try:
                await (self._streamed if self.stream else self._whole)(record, answer)
            except GatewayError as exc:
                error = exc
                answer.error, answer.status = _error(exc), exc.status
                answer.endings += 1
        answer.took_s = self._loop.time() - began_s
        record.close(answer.status, error or record.progress.fault)
        return answer

    async def _whole(self, record: RequestRecord, answer: Answer) -> None:
        reply = FoldReply(identity(self.gateway, record), max_bytes=1 << 20)
        await carry_out(self.gateway, record, reply)
        body, headers = msgspec.json.decode(reply.body()), read(record.whole_lines())
        (choice,) = body["choices"]
        answer.text, answer.model, answer.usage = (
            choice["message"]["content"],
            body["model"],
            body["usage"],
        )
        assert headers["x-setpoint-model"] == body["model"]
        usd = headers.get("x-setpoint-cost-usd")
        answer.usd = None if usd is None else float(usd)
        answer.done, answer.endings = choice["finish_reason"] == "stop", 1
        answer.first_s = self._loop.time() - answer.began_s

    async def _streamed(self, record: RequestRecord, answer: Answer) -> None:
        writer = StreamWriter(
            identity(self.gateway, record), include_usage=True, cost=record.cost_usd
        )
        sink = _Stream(writer, record)
        try:
            await carry_out(self.gateway, record, sink)
        except GatewayError as exc:
            if sink.opened_with is None:
                raise
            sink.body += error_frame(exc)
            sink.terminals += 1
        if sink.first_content_s is not None:
            answer.first_s = sink.first_content_s - answer.began_s
        answer.endings = sink.terminals
        _read(sink.body, answer)


def _error(error: GatewayError) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(error.encode())["error"]
    return found


def _read(body: bytes, answer: Answer) -> None:
    """What an SDK makes of a stream."""
    frames = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame]
    models = set()
    for frame in frames:
        assert not answer.done, "something follows [DONE]"
        if frame == b"[DONE]":
            answer.done = True
            continue
        told = msgspec.json.decode(frame)
        if "error" in told:
            answer.error = told["error"]
            continue
        models.add(told["model"])
        if told["usage"] is not None:
            answer.usage = told["usage"]
            answer.usd = told["usage"].get("cost")
        for choice in told["choices"]:
            answer.text += choice["delta"].get("content", "")
    assert len(models) < 2, f"one stream of {models}"
    answer.model = next(iter(models), None)
