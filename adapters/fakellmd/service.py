"""A fake llm-d in process: the pure engines, driven by the event loop's clock, speaking vLLM's wire.

This is the thin body. One timer waits for the engines' next event; when it fires, what happened is
written to the sinks. No coroutine runs, and no callback is called from within `start`. Latencies are
decided by `model`, words by `text`, bytes by `answers`.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from adapters.dialect import WireRequest
from adapters.fakellmd import answers, bodies, failures
from adapters.fakellmd.bodies import Generation
from adapters.fakellmd.draws import mix
from adapters.fakellmd.exchange import LocalExchange
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.metrics import CONTENT_TYPE, EngineMetrics, LlmdMetrics
from adapters.fakellmd.model import Done, Job, Lost, Token
from adapters.fakellmd.settings import LlmdSettings, patched
from adapters.transport import ResponseSink
from contracts.errors import ConnectFailed, UpstreamFault

VERSION = "fake-llm-d 0.1"
_JSON = {"content-type": "application/json"}
_STREAM = {"content-type": "text/event-stream; charset=utf-8"}

Headers = dict[str, str]


class _Answer:
    """An answer under way: its sequences, and how many of them still run.

    `writer` None: it is not a stream, and `whole` makes it when the last sequence is done.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        headers: Headers,
        writer: answers.StreamWriter | None,
        whole: Callable[[], bytes],
    ) -> None:
        self.exchange = exchange
        self.headers = headers
        self.writer = writer
        self.whole = whole
        self.jobs: list[int] = []
        self.left = 0


class _Live:
    """A job in an engine: whose it is, and when its last token came."""

    __slots__ = ("answer", "choice", "last_s", "metrics", "number")

    def __init__(
        self,
        answer: _Answer,
        number: int,
        choice: bodies.Choice,
        metrics: EngineMetrics,
        submitted_s: float,
    ) -> None:
        self.answer = answer
        self.number = number
        self.choice = choice
        self.metrics = metrics
        self.last_s = submitted_s


class FakeLlmd:
    """A `Transport` whose other end is not a socket.

    Starts its clock with the first request (or `boot`) and then belongs to that event loop.
    `wall_clock` gives Unix seconds for the `created` members of answers; nothing else reads it.
    """

    def __init__(
        self,
        settings: LlmdSettings | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or LlmdSettings()
        self._wall_clock = wall_clock
        self._loop: asyncio.AbstractEventLoop
        self._booted = False
        self._exchanges: dict[LocalExchange, _Answer | None] = {}
        self._live: dict[int, _Live] = {}
        self._timer: asyncio.Handle | None = None
        self._armed_s = 0.0
        self._requests = 0
        self._job_ids = 0
        self._closed = False

    def boot(self) -> None:
        """Start the engines' clock on the running loop; idempotent. Drift and start-up count from here."""
        if self._booted:
            return
        self._booted = True
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._created = int(self._wall_clock())
        self._fleet = Fleet(self.settings, started_s=self._started_s)
        self._metrics = LlmdMetrics(self._fleet, self._loop.time, lambda: self.settings)

    def start(self, request: WireRequest, sink: ResponseSink) -> LocalExchange:
        self.boot()
        exchange = LocalExchange(sink, self._loop, self._forget)
        self._exchanges[exchange] = None
        self._loop.call_soon(self._receive, request, exchange)
        return exchange

    async def aclose(self) -> None:
        """Break off what still runs, and refuse what comes."""
        self._closed = True
        for exchange in list(self._exchanges):
            exchange.error(UpstreamFault("the fake llm-d was closed", fault="unavailable"))
        if self._timer is not None:
            self._timer.cancel()

    def reconfigure(self, patch: bytes) -> None:
        """Put a JSON object over the settings, as `POST /admin/config` does. Raises ValueError."""
        self.boot()
        settings = patched(self.settings, patch)
        self.settings = settings
        self._fleet.reconfigure(self._now_s(), settings)
        self._arm()

    def fail(self, model: str, replica: int) -> None:
        """Lose one pod: what it works on breaks off, what comes goes to the others. Raises LookupError."""
        self.boot()
        self._fleet.engines[model][replica].fail(self._now_s())
        self._arm()

    def recover(self, model: str, replica: int) -> None:
        """A lost pod comes back, empty. Raises LookupError."""
        self.boot()
        self._fleet.engines[model][replica].recover()

    # -- a request ----------------------------------------------------------------------

    def _receive(self, request: WireRequest, exchange: LocalExchange) -> None:
        if exchange.over:
            return
        if self._closed:
            exchange.error(ConnectFailed("the fake llm-d is closed", fault="unavailable"))
            return
        try:
            self._route(request, exchange)
        except ApiError as error:
            exchange.answer(error.status, _JSON, error.encode())
        except RecursionError:
            too_deep = ApiError(400, "the body is nested too deeply")
            exchange.answer(too_deep.status, _JSON, too_deep.encode())

    def _route(self, request: WireRequest, exchange: LocalExchange) -> None:
        path = request.path.partition("?")[0]
        match request.method, path:
            case "POST", "/v1/chat/completions":
                headers = self._inference(request)
                self._generate(bodies.parse_chat(request.body, self.settings), headers, exchange)
            case "POST", "/v1/completions":
                headers = self._inference(request)
                asked = bodies.parse_completion(request.body, self.settings)
                self._generate(asked, headers, exchange)
            case "POST", "/v1/embeddings":
                headers = self._inference(request)
                self._embed(bodies.parse_embedding(request.body, self.settings), headers, exchange)
            case "POST", "/tokenize":
                self._check_body(request)
                ids = bodies.parse_tokenize(request.body, self.settings)
                exchange.answer(200, _JSON, answers.tokens(ids, self.settings))
            case "GET", "/v1/models":
                exchange.answer(200, _JSON, answers.model_list(self.settings, self._created))
            case "GET", "/health":
                exchange.answer(200 if self._alive() else 503, {}, b"")
            case "GET", "/health/ready":
                exchange.answer(200 if self._ready() else 503, {}, b"")
            case "GET", "/version":
                exchange.answer(200, _JSON, msgspec.json.encode({"version": VERSION}))
            case "GET", "/metrics":
                self._fleet_to_now()
                headers = {"content-type": CONTENT_TYPE}
                exchange.answer(200, headers, self._metrics.render())
            case "GET", "/admin/config":
                exchange.answer(200, _JSON, msgspec.json.encode(self.settings))
            case "POST", "/admin/config":
                self._check_body(request)
                self._configure(request, exchange)
            case _, path if path in _METHODS:
                headers = {**_JSON, "allow": _METHODS[path]}
                exchange.answer(405, headers, b'{"detail":"Method Not Allowed"}')
            case _:
                exchange.answer(404, _JSON, b'{"detail":"Not Found"}')

    def _check_body(self, request: WireRequest) -> Headers:
        """The request's headers by lower-case name. Raises ApiError for a body that is not read."""
        headers = {name.lower(): value for name, value in request.headers}
        if len(request.body) > self.settings.max_body_bytes:
            limit = self.settings.max_body_bytes
            raise ApiError(413, f"the body is longer than {limit} bytes")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(400, "Unsupported Media Type: Only 'application/json' is allowed")
        return headers

    def _inference(self, request: WireRequest) -> Headers:
        """Count an inference request, and let it fail if a header or the injection rate says so."""
        headers = self._check_body(request)
        self._requests += 1
        if "x-return-error" in headers:
            raise failures.asked_for(headers["x-return-error"])
        failure = failures.injected(self.settings, self._requests)
        if failure is not None:
            raise failure
        return headers

    def _configure(self, request: WireRequest, exchange: LocalExchange) -> None:
        try:
            self.reconfigure(request.body)
        except (ValueError, RecursionError) as exc:
            raise ApiError(400, f"the configuration was not changed: {exc}") from exc
        exchange.answer(200, _JSON, msgspec.json.encode(self.settings))

    def _generate(self, asked: Generation, headers: Headers, exchange: LocalExchange) -> None:
        answer_id = self._answer_id(headers)
        created = int(self._wall_clock())
        writer = answers.StreamWriter(asked, answer_id, created) if asked.stream else None
        answer = _Answer(exchange, {}, writer, lambda: answers.document(asked, answer_id, created))
        self._submit(answer, asked.model, asked.choices, asked.priority)
        if writer is not None:
            exchange.head(200, _STREAM | answer.headers)

    def _embed(self, asked: bodies.Embedding, headers: Headers, exchange: LocalExchange) -> None:
        answer_id = self._answer_id(headers)
        created = int(self._wall_clock())
        answer = _Answer(exchange, {}, None, lambda: answers.embeddings(asked, answer_id, created))
        self._submit(answer, asked.model, (bodies.prefill_only(asked.prompt_tokens),), 0)

    def _submit(
        self, answer: _Answer, model: str, choices: tuple[bodies.Choice, ...], priority: int
    ) -> None:
        """All sequences of an answer go to one replica, or none goes anywhere. Raises ApiError."""
        now_s = self._now_s()
        replica: int | None = None
        self._exchanges[answer.exchange] = answer
        for number, choice in enumerate(choices):
            self._job_ids += 1
            job = Job(
                id=self._job_ids,
                prompt_tokens=choice.prompt_tokens,
                output_tokens=len(choice.script.pieces),
                priority=priority,
                seed=mix(self.settings.seed, self._job_ids),
            )
            placed = self._fleet.submit(now_s, model, job, replica=replica)
            if placed.replica is None or placed.admission in ("full", "down"):
                self._withdraw(answer)
                if placed.replica is None or placed.admission == "down":
                    raise ApiError(503, "no engine of this model is alive")
                self._metrics.engines[model][placed.replica].refused()
                raise ApiError(429, failures.QUEUE_FULL)
            replica = placed.replica
            metrics = self._metrics.engines[model][replica]
            self._live[job.id] = _Live(answer, number, choice, metrics, now_s)
            answer.jobs.append(job.id)
            answer.left += 1
        answer.headers = {"x-inference-pod": f"{model}-{replica}"}
        self._arm()

    def _answer_id(self, headers: Headers) -> str:
        own = f"{mix(self.settings.seed, 13, self._requests):016x}"
        # A server hands on bytes that are not UTF-8 as lone surrogates, which no JSON can carry.
        told = headers.get("x-request-id", "").encode(errors="replace").decode()
        return told or own

    # -- the engines --------------------------------------------------------------------

    def _arm(self) -> None:
        """Have one timer, for the engines' next event."""
        next_s = self._fleet.next_event_s()
        if self._timer is not None:
            # Remembered here: uvloop gives a plain handle, without `when`, for what is due at once.
            if self._armed_s == next_s:
                return
            self._timer.cancel()
            self._timer = None
        if next_s is not None and not self._closed:
            self._armed_s = next_s
            self._timer = self._loop.call_at(next_s, self._wake, next_s)

    def _wake(self, armed_s: float) -> None:
        """A timer may fire a clock tick early; the time it was armed for has come all the same."""
        self._timer = None
        self._deliver(max(armed_s, self._now_s()))
        self._arm()

    def _deliver(self, now_s: float) -> None:
        for event in self._fleet.advance(now_s):
            live = self._live.get(event.job_id)
            if live is None:
                continue
            match event:
                case Token():
                    self._token(live, event)
                case Done():
                    del self._live[event.job_id]
                    live.metrics.done(event, live.choice.script.finish_reason)
                    self._done(live.answer)
                case Lost():
                    live.metrics.lost()
                    self._lost(live.answer)

    def _token(self, live: _Live, token: Token) -> None:
        if token.index == 1:
            live.metrics.first_token(token.at_s - live.last_s, live.choice.prompt_tokens)
        else:
            live.metrics.token(token.at_s - live.last_s)
        live.last_s = token.at_s
        answer = live.answer
        if answer.writer is not None:
            answer.exchange.data(answer.writer.token(live.number, token.index))

    def _done(self, answer: _Answer) -> None:
        answer.left -= 1
        if answer.left:
            return
        if answer.writer is None:
            answer.exchange.answer(200, _JSON | answer.headers, answer.whole())
        else:
            answer.exchange.data(answer.writer.usage() + answers.DONE)
            answer.exchange.end()

    def _lost(self, answer: _Answer) -> None:
        """As vLLM says it: an error object, in the stream where that has begun."""
        self._withdraw(answer)
        error = ApiError(500, failures.ENGINE_LOST)
        if answer.exchange.headed:
            answer.exchange.data(b"data: " + error.encode() + b"\n\n" + answers.DONE)
            answer.exchange.end()
        else:
            answer.exchange.answer(500, _JSON | answer.headers, error.encode())

    def _withdraw(self, answer: _Answer) -> None:
        """Take the answer's sequences out of their engine, wherever they are."""
        now_s = self._now_s()
        for job_id in answer.jobs:
            if self._live.pop(job_id, None) is not None:
                self._fleet.cancel(job_id, now_s)
        answer.jobs.clear()
        self._arm()

    def _forget(self, exchange: LocalExchange) -> None:
        """An exchange is over. If its client gave up, its places in the batch are free now."""
        answer = self._exchanges.pop(exchange, None)
        if answer is not None and answer.jobs:
            self._withdraw(answer)

    def _now_s(self) -> float:
        return self._loop.time()

    def _alive(self) -> bool:
        engines = self._fleet.engines.values()
        return any(engine.alive for replicas in engines for engine in replicas)

    def _ready(self) -> bool:
        started = self._now_s() >= self._started_s + self.settings.startup_duration_s
        return started and self._alive()

    def _fleet_to_now(self) -> None:
        """Deliver what is due before its timer fires, so that a scrape is never behind."""
        self._deliver(self._now_s())
        self._arm()


_METHODS = {
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/tokenize": "POST",
    "/v1/models": "GET",
    "/health": "GET",
    "/health/ready": "GET",
    "/version": "GET",
    "/metrics": "GET",
    "/admin/config": "GET, POST",
}
