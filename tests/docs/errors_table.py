"""The tables of docs/errors.md: what a provider says, what its client hears of it, and what is tried instead.

    python -m tests.docs.errors_table --write

Nothing of it is written by hand: class, code and status are the dialect's, and what is done is what an executor is
seen to do, with one retry and a fallback. A dialect with errors of its own adds them to EXAMPLES.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import looptime
import msgspec

from adapters.dialect import EndpointState, WireHead
from adapters.registry import dialect_for
from contracts.catalog import Catalog
from contracts.errors import ConnectFailed, GatewayError, StreamBroken, UpstreamFault
from contracts.inference import InferRequest, RoutingPlan, Target, Timeouts
from gateway.executor import Executor
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.progress import Progress
from gateway.settings import PoolOptions
from tests.fakes.recorder import Remembering
from tests.fakes.scripted import Script, ScriptedTransport, answer, broken, chunk, data, end, head
from tests.gateway.test_executor import Listening, request

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
BEGIN, END = "<!-- {} -->\n", "<!-- end -->"


_PLAIN = frozenset({"ollama", "tgi", "mlx", "triton"})
"""Engines whose error is a text and no object."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """An error answer. `error` is the body's error object, or the whole body where that is not one."""

    engine: str
    status: int
    error: dict[str, Any] | bytes
    headers: dict[str, str] = {}

    @property
    def body(self) -> bytes:
        if isinstance(self.error, bytes):
            return self.error
        if self.engine in _PLAIN:
            return msgspec.json.encode({"error": self.error.get("message", "m")})
        if self.engine == "gemini":
            return msgspec.json.encode(
                {"error": {"code": self.status, "message": "m", **self.error}}
            )
        shown = {"message": "m", "type": None, "param": None, "code": None, **self.error}
        if self.engine == "anthropic":
            return msgspec.json.encode({"type": "error", "error": shown})
        return msgspec.json.encode({"error": shown})

    @property
    def says(self) -> str:
        told = [f"`{name}: {value}`" for name, value in self.headers.items()]
        if isinstance(self.error, bytes):
            return ", ".join(told) or "anything else"
        for name in ("code", "type", "status", "message"):
            if self.error.get(name) is not None:
                mark = "`" if name != "message" else '"'
                told.append(f"{mark}{self.error[name]}{mark}")
        return ", ".join(told) or "anything else"


def _openai(status: int, **error: Any) -> Example:
    return Example(engine="openai", status=status, error=error)


def _llamacpp(status: int, **error: Any) -> Example:
    return Example(engine="llamacpp", status=status, error=error)


def _vllm(status: int, **error: Any) -> Example:
    return Example(engine="vllm", status=status, error=error)


def _llmd(status: int, headers: dict[str, str] | None = None, **error: Any) -> Example:
    return Example(engine="llmd", status=status, error=error, headers=headers or {})


def _anthropic(status: int, type: str, **error: Any) -> Example:
    return Example(engine="anthropic", status=status, error={"type": type, **error})


def _text(engine: str, status: int, message: str | None = None) -> Example:
    error = {} if message is None else {"message": message}
    return Example(engine=engine, status=status, error=error)


def _gemini(status: int, word: str, **error: Any) -> Example:
    return Example(engine="gemini", status=status, error={"status": word, **error})


_DROPPED = "x-llm-d-request-dropped-reason"
EXAMPLES: tuple[Example, ...] = (
    _openai(400, code="invalid_value"),
    _openai(400, code="context_length_exceeded"),
    _openai(400, message="maximum context length is 8192 tokens"),
    _openai(400, code="content_policy_violation"),
    _openai(400, code="content_filter"),
    _openai(401, code="invalid_api_key"),
    _openai(402),
    _openai(403),
    _openai(404, code="model_not_found"),
    _openai(408),
    _openai(409),
    _openai(413),
    _openai(422),
    _openai(429, code="rate_limit_exceeded"),
    _openai(429, code="insufficient_quota"),
    _openai(429, code="credit_balance_exhausted"),
    _openai(429, code="organization_spend_limit_exceeded"),
    _openai(429, code="project_spend_limit_exceeded"),
    _openai(429, code="organization_usage_limit_exceeded"),
    _openai(500),
    _openai(501),
    _openai(502),
    _openai(503),
    _openai(503, code="server_is_overloaded"),
    _openai(503, type="overloaded_error"),
    _openai(504),
    _openai(529),
    _llamacpp(400, type="exceed_context_size_error"),
    _llamacpp(400, message="the request exceeds the available context size"),
    _llamacpp(500, message="[json.exception.parse_error.101] parse error"),
    _llamacpp(500, message="Missing 'role' in message"),
    _llamacpp(500, message="image input is not supported"),
    _llamacpp(500, type="server_error"),
    _llamacpp(503, type="unavailable_error"),
    _vllm(400, message="This model's maximum context length is 1024 tokens"),
    _vllm(429),
    _vllm(503, type="ServiceUnavailableError"),
    _llmd(500, message="request cannot be admitted"),
    _llmd(429, {_DROPPED: "rejected-saturated"}),
    _llmd(503, {_DROPPED: "rejected-ttl-expired"}),
    _llmd(503, {_DROPPED: "rejected-no-endpoints"}),
    _llmd(503, {_DROPPED: "rejected-shutting-down"}),
    _llmd(503, {_DROPPED: "rejected-context-cancelled"}),
    _llmd(429, {_DROPPED: "evicted"}),
    _llmd(429, {_DROPPED: "evicted-queue-pressure"}),
    _llmd(429, {_DROPPED: "evicted-priority"}),
    Example(engine="llmd", status=503, error=b"upstream connect error"),
    _anthropic(400, "invalid_request_error"),
    _anthropic(400, "invalid_request_error", message="prompt is too long: 9 tokens > 8 maximum"),
    _anthropic(400, "invalid_request_error", message="blocked by our content filtering policy"),
    _anthropic(400, "invalid_request_error", message="your credit balance is too low"),
    _anthropic(401, "authentication_error"),
    _anthropic(402, "billing_error"),
    _anthropic(403, "permission_error"),
    _anthropic(404, "not_found_error"),
    _anthropic(409, "conflict_error"),
    _anthropic(413, "request_too_large"),
    _anthropic(429, "rate_limit_error"),
    _anthropic(500, "api_error"),
    _anthropic(504, "timeout_error"),
    _anthropic(529, "overloaded_error"),
    _gemini(400, "INVALID_ARGUMENT"),
    _gemini(400, "INVALID_ARGUMENT", message="The input token count exceeds the maximum"),
    _gemini(400, "INVALID_ARGUMENT", message="API key not valid"),
    _gemini(400, "FAILED_PRECONDITION"),
    _gemini(401, "UNAUTHENTICATED"),
    _gemini(403, "PERMISSION_DENIED"),
    _gemini(404, "NOT_FOUND"),
    _gemini(409, "ABORTED"),
    _gemini(429, "RESOURCE_EXHAUSTED"),
    _gemini(429, "RESOURCE_EXHAUSTED", message="your prepayment credits are used up"),
    _gemini(500, "INTERNAL"),
    _gemini(501, "UNIMPLEMENTED"),
    _gemini(503, "UNAVAILABLE", message="The model is overloaded"),
    _gemini(503, "UNAVAILABLE"),
    _gemini(504, "DEADLINE_EXCEEDED"),
    _text("ollama", 400),
    _text("ollama", 400, "the input exceeds the context length"),
    _text("ollama", 400, "this model does not support tools"),
    _text("ollama", 404, "model 'm' not found"),
    _text("ollama", 500),
    _text("ollama", 503, "server busy, please try again. maximum pending requests exceeded"),
    _text("tgi", 422, "Input validation error: `inputs` must have less than 1024 tokens"),
    _text("tgi", 422, "Input validation error: `temperature` must be strictly positive"),
    _text("tgi", 424, "Request failed during generation: Server error"),
    _text("tgi", 429, "Model is overloaded"),
    _text("tgi", 500, "Incomplete generation"),
    _text("mlx", 400),
    _text("mlx", 404, "Cannot find an appropriate cached snapshot folder"),
    _text("mlx", 404, "'dict object' has no attribute 'role'"),
    _text("mlx", 500),
    _text("triton", 400),
    _text("triton", 400, "Prompt length (9) exceeds maximum input length (5)"),
    _text("triton", 404, "Request for unknown model: 'm' is not found"),
    _text("triton", 500, "failed to parse the request JSON buffer"),
    _text("triton", 500),
    _text("triton", 503, "Exceeds maximum queue size"),
    _text("triton", 503),
    Example(engine="triton_openai", status=400, error={}),
    Example(engine="triton_openai", status=404, error={}),
    Example(engine="triton_openai", status=500, error={}),
)


class Seen(msgspec.Struct, kw_only=True):
    """What became of a request whose primary did that, at every attempt."""

    error: GatewayError
    primary: int
    fallback: int
    alone: bool = False
    """There was no fallback."""

    @property
    def done(self) -> str:
        if self.alone:
            return "there is none"
        if self.fallback == 0:
            return "passed on"
        if isinstance(self.error, UpstreamFault) and self.error.fault == "context_length":
            return "falls back to a model that holds more"
        return "retries, then falls back" if self.primary > 1 else "falls back at once"


def seen(engine: str, script: Script) -> Seen:
    """The error that a client would hear without a fallback, and the attempts with one."""

    async def play() -> Seen:
        error, primary, _ = await _run(engine, script, alone=True)
        assert error is not None
        _, primary, fallback = await _run(engine, script, alone=False)
        return Seen(error=error, primary=primary, fallback=fallback)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(play())


async def _run(engine: str, script: Script, *, alone: bool) -> tuple[GatewayError | None, int, int]:
    loop = asyncio.get_running_loop()
    primary, fallback = ScriptedTransport(script), ScriptedTransport(answer())
    pools = [_pool("a", engine, primary), _pool("b", "openai", fallback)][: 1 if alone else 2]
    contexts = (1000, 2000)
    plan = RoutingPlan(
        targets=tuple(
            Target(model=pool.id, pool=pool.id, upstream="m", context=context)
            for pool, context in zip(pools, contexts, strict=False)
        )
    )
    executor = Executor(
        {pool.id: pool for pool in pools}, draw=lambda: 0.5, new_id=str, clock=loop.time
    )
    progress, error = Progress(accepted_s=loop.time()), None
    try:
        sink = Listening()
        asked = _text_request() if engine == "triton" else request(max_tokens=5)
        await executor.infer(asked, plan, Catalog(), sink, progress, Remembering())
    except GatewayError as exc:
        error = exc
    await asyncio.sleep(2)
    return error or progress.fault, len(primary.requests), len(fallback.requests)


def _text_request() -> InferRequest:
    """Of an engine that knows no chats."""
    body = b'{"model":"m","prompt":"hi","max_tokens":5}'
    return read_request(body, "completion", request_id="req_1", key="", headers={})


def _pool(
    pool_id: str,
    engine: str,
    transport: ScriptedTransport,
    timeouts: Timeouts | None = None,
) -> Pool:
    pool = Pool(
        pool_id,
        engine=engine,
        dialect=dialect_for(engine),
        transports=[transport],
        options=PoolOptions(
            max_inflight=None,
            max_waiting=10,
            max_tasks=10,
            queue_timeout_s=5.0,
            timeouts=timeouts or Timeouts(),
            retries=1,
            probe_interval_s=1.0,
        ),
        clock=asyncio.get_running_loop().time,
    )
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok"))
    return pool


def _cells(what: str, found: Seen) -> str:
    error = found.error
    assert isinstance(error, UpstreamFault)
    again = "yes" if error.retriable else "no"
    return f"{what} | {error.fault} | {error.status} | `{error.code}` | {again} | {found.done} |"


def answers_table() -> str:
    """Error answers, by engine."""
    lines = [
        "| engine | status | it says | class | told as | code | retriable | with a fallback |",
        "|---|---|---|---|---|---|---|---|",
    ]
    engine = ""
    for example in EXAMPLES:
        name = f"`{example.engine}`" if example.engine != engine else ""
        engine = example.engine
        script = [
            head(
                0.01, example.status, **{n.replace("-", "_"): v for n, v in example.headers.items()}
            ),
            data(0.01, example.body),
            end(0.02),
        ]
        found = seen(example.engine, script)
        lines.append(f"| {name} | {example.status} | {_cells(example.says, found)}")
    return "\n".join(lines) + "\n"


def others_table() -> str:
    """What goes wrong without an error answer. Those that come after content have sent it, which a whole
    answer keeps."""
    begun = [head(0.05), data(0.1, chunk({"content": "a"}))]
    cut = StreamBroken("x", fault="stream_broken")
    error = {"message": "m", "type": "server_error", "code": None}
    told = data(0.2, b"data: %b\n\n" % msgspec.json.encode({"error": error}))
    slow = [head(0.05), *(data(n + 1.0, chunk({"content": "a"})) for n in range(60))]
    closed = UpstreamFault("x", fault="unavailable")
    plain, paced, short = Timeouts(), Timeouts(min_tokens_per_s=5), Timeouts(total_s=30)
    cases: list[tuple[str, Script, Timeouts]] = [
        ("nobody listens", [broken(0.01, ConnectFailed("x", fault="unavailable"))], plain),
        ("the connection is closed without an answer", [broken(0.01, closed)], plain),
        (
            "no first token in `timeouts.first_token`, where another attempt may follow",
            [head(0.05)],
            plain,
        ),
        ("an error event that says no more, before any content", [head(0.05), told], plain),
        ("the same, or broken JSON, after content", [*begun, told], plain),
        ("the connection is cut after content", [*begun, broken(0.3, cut)], plain),
        ("silence after content for `timeouts.idle`", begun, plain),
        ("an answer slower than `timeouts.min_tokens_per_s`", slow, paced),
        ("an answer that takes longer than `timeouts.total`", slow, short),
    ]
    lines = [
        "| what happens | class | told as | code | retriable | with a fallback, nothing sent |",
        "|---|---|---|---|---|---|",
    ]
    for what, script, timeouts in cases:
        lines.append("| " + _cells(what, _without_answer(script, timeouts)))
    alone = seen_alone([head(0.05)])
    lines.append("| " + _cells("no token at all for `timeouts.idle`, in the last attempt", alone))
    return "\n".join(lines) + "\n"


def seen_alone(script: Script) -> Seen:
    """Where nobody else could take over."""

    async def play() -> Seen:
        error, primary, _ = await _run("openai", script, alone=True)
        assert error is not None
        return Seen(error=error, primary=primary, fallback=0, alone=True)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(play())


def _without_answer(script: Script, timeouts: Timeouts) -> Seen:
    """With a fallback from the start: some faults there are only where somebody else can take over."""

    async def play() -> Seen:
        loop = asyncio.get_running_loop()
        primary, fallback = ScriptedTransport(script), ScriptedTransport(answer())
        pools = [_pool("a", "openai", primary, timeouts), _pool("b", "openai", fallback)]
        plan = RoutingPlan(
            targets=tuple(Target(model=p.id, pool=p.id, upstream="m") for p in pools)
        )
        executor = Executor({p.id: p for p in pools}, draw=lambda: 0.5, new_id=str, clock=loop.time)
        progress, recorder = Progress(accepted_s=loop.time()), _Failures()
        sink = Listening(keeps_back=True)
        await executor.infer(request(), plan, Catalog(), sink, progress, recorder)
        await asyncio.sleep(2)
        return Seen(
            error=recorder.errors[-1],
            primary=len(primary.requests),
            fallback=len(fallback.requests),
        )

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(play())


class _Failures(Remembering):
    def __init__(self) -> None:
        super().__init__()
        self.errors: list[GatewayError] = []

    def attempt_failed(self, error: GatewayError) -> None:
        self.errors.append(error)


def page(text: str) -> str:
    """`text` with its tables renewed."""
    for name, table in (("answers", answers_table()), ("others", others_table())):
        before, mark, rest = text.partition(BEGIN.format(name))
        assert mark, f"docs/errors.md has no place for {name}"
        text = before + mark + table + END + rest.partition(END)[2]
    return text


def classified(example: Example) -> UpstreamFault:
    return dialect_for(example.engine).fault(
        WireHead(status=example.status, headers=example.headers), example.body
    )


if __name__ == "__main__":
    found = page(PAGE.read_text("utf-8"))
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(found, "utf-8")
    else:
        print(found, end="")
