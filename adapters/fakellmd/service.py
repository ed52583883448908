"""A fake llm-d in process: the pure engines behind their pure endpoint pickers, speaking vLLM's wire.

This is the thin body. One timer of the event loop waits for their next event; when it fires, what
happened is written to the sinks. No coroutine runs, and no callback is called from within `start`.
Latencies are decided by `model`, who may go to an engine by `endpoint_picker`, words by `text`,
bytes by `answers`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec

from adapters.dialect import WireRequest
from adapters.fakellmd import answers, bodies, epp_drops, epp_headers, failures
from adapters.fakellmd.draws import mix
from adapters.fakellmd.endpoint_picker import Effect, Evict, Forward, Refuse
from adapters.fakellmd.epp_metrics import EppMetrics
from adapters.fakellmd.exchange import LocalExchange
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.fleet import Fleet
from adapters.fakellmd.intake import INFERENCE, Answer, Intake
from adapters.fakellmd.metrics import CONTENT_TYPE, EngineMetrics, LlmdMetrics
from adapters.fakellmd.model import Done, Job, Lost, Token
from adapters.fakellmd.pickers import Pickers
from adapters.fakellmd.settings import LlmdSettings, patched
from adapters.transport import ResponseSink
from contracts.errors import ConnectFailed, StreamBroken, UpstreamFault

VERSION = "fake-llm-d 0.2"
_JSON = {"content-type": "application/json"}
_STREAM = {"content-type": "text/event-stream; charset=utf-8"}


class _Live:
    """A job in an engine: whose it is, and when its last token came."""

    __slots__ = ("answer", "choice", "last_s", "metrics", "number")

    def __init__(
        self,
        answer: Answer,
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
        self._exchanges: dict[LocalExchange, Answer | None] = {}
        self._answers: dict[int, Answer] = {}
        self._live: dict[int, _Live] = {}
        self._timer: asyncio.Handle | None = None
        self._armed_s = 0.0
        self._intake = Intake(lambda: self.settings, wall_clock)
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
        self._epp_metrics = EppMetrics(self.settings.epp.fairness_label_limit)
        self._pickers = Pickers(
            self._fleet, self.settings, self._epp_metrics, started_s=self._started_s
        )
        self._epp_metrics.watch(self._pickers.pools, self._loop.time)

    def start(self, request: WireRequest, sink: ResponseSink) -> LocalExchange:
        self.boot()
        exchange = LocalExchange(sink, self._loop, self._forget)
        self._exchanges[exchange] = None
        self._loop.call_soon(self._receive, request, exchange)
        return exchange

    async def aclose(self) -> None:
        """Refuse what waits, break off what still runs, and refuse what comes."""
        self._closed = True
        if self._booted:
            self._carry_out(self._pickers.shutdown(self._now_s()))
        for exchange in list(self._exchanges):
            exchange.error(UpstreamFault("the fake llm-d was closed", fault="unavailable"))
        if self._timer is not None:
            self._timer.cancel()

    def reconfigure(self, patch: bytes) -> None:
        """Put a JSON object over the settings, as `POST /admin/config` does. Raises ValueError."""
        self.boot()
        settings = patched(self.settings, patch)
        self.settings = settings
        now_s = self._now_s()
        self._fleet.reconfigure(now_s, settings)
        self._carry_out(self._pickers.configure(now_s, settings))
        self._arm()

    def fail(self, model: str, replica: int) -> None:
        """Lose one pod: what it works on breaks off, what comes goes to the others. Raises LookupError."""
        self.boot()
        now_s = self._now_s()
        self._pickers.look(now_s)
        self._fleet.engines[model][replica].fail(now_s)
        self._pickers.poke(now_s)
        self._arm()

    def recover(self, model: str, replica: int) -> None:
        """A lost pod comes back, empty. Raises LookupError."""
        self.boot()
        self._fleet.engines[model][replica].recover()
        self._pickers.poke(self._now_s())
        self._arm()

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
            exchange.answer(error.status, _JSON | _seen(request), error.encode())
        except RecursionError:
            too_deep = ApiError(400, "the body is nested too deeply")
            exchange.answer(too_deep.status, _JSON | _seen(request), too_deep.encode())

    def _route(self, request: WireRequest, exchange: LocalExchange) -> None:
        path = request.path.partition("?")[0]
        match request.method, path:
            case "POST", path if path in INFERENCE:
                self._arrive(self._intake.answer(path, request, exchange, self._now_s()))
            case "POST", "/tokenize":
                self._intake.headers(request)
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
                text = self._metrics.render() + self._epp_metrics.render()
                exchange.answer(200, headers, text)
            case "GET", "/admin/config":
                exchange.answer(200, _JSON, msgspec.json.encode(self.settings))
            case "POST", "/admin/config":
                self._intake.headers(request)
                self._configure(request, exchange)
            case _, path if path in _METHODS:
                headers = {**_JSON, "allow": _METHODS[path]}
                exchange.answer(405, headers, b'{"detail":"Method Not Allowed"}')
            case _:
                exchange.answer(404, _JSON, b'{"detail":"Not Found"}')

    def _configure(self, request: WireRequest, exchange: LocalExchange) -> None:
        try:
            self.reconfigure(request.body)
        except (ValueError, RecursionError) as exc:
            raise ApiError(400, f"the configuration was not changed: {exc}") from exc
        exchange.answer(200, _JSON, msgspec.json.encode(self.settings))

    # -- the endpoint picker ------------------------------------------------------------

    def _arrive(self, answer: Answer) -> None:
        self._exchanges[answer.exchange] = answer
        self._answers[answer.call.id] = answer
        self._pickers.look(answer.call.received_s)
        self._carry_out(self._pickers.arrive(answer.call.received_s, answer.call))
        self._arm()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            answer = self._answers.get(effect.call)
            if answer is None:
                continue  # its client left while the effects before were carried out
            match effect:
                case Forward():
                    self._forward(answer, effect)
                case Refuse(drop=drop):
                    self._epp_metrics.refused(answer.call, drop)
                    answer.exchange.answer(drop.status, drop.headers, drop.text.encode())
                case Evict():
                    self._evict(answer)

    def _forward(self, answer: Answer, forward: Forward) -> None:
        answer.headers = {**forward.headers}
        answer.metrics = self._epp_metrics.forwarded(answer.call)
        try:
            self._submit(answer, forward.pod)
        except ApiError as error:
            self._epp_metrics.failed(answer.call)
            answer.exchange.answer(error.status, _JSON | answer.headers, error.encode())
            return
        if answer.writer is not None:
            answer.exchange.head(200, _STREAM | answer.headers)

    def _evict(self, answer: Answer) -> None:
        """A status, if nothing was sent yet; after the head, only a broken stream tells."""
        drop = epp_drops.EVICTED
        if answer.exchange.headed:
            answer.exchange.error(StreamBroken(drop.text))
        else:
            answer.exchange.answer(drop.status, drop.headers, drop.text.encode())

    def _submit(self, answer: Answer, replica: int | None) -> None:
        """All sequences of an answer go to one replica, or none goes anywhere. Raises ApiError."""
        for number, choice in enumerate(answer.choices):
            replica = self._place(answer, number, choice, replica)
            if number == 0:
                self._pickers.placed(answer.call, replica)
        answer.headers["x-inference-pod"] = f"{answer.call.target}-{replica}"

    def _place(
        self, answer: Answer, number: int, choice: bodies.Choice, replica: int | None
    ) -> int:
        now_s, model = self._now_s(), answer.call.target
        self._job_ids += 1
        job = Job(
            id=self._job_ids,
            prompt_tokens=choice.prompt_tokens,
            output_tokens=len(choice.script.pieces),
            priority=answer.priority,
            seed=mix(self.settings.seed, self._job_ids),
        )
        placed = self._fleet.submit(now_s, model, job, replica=replica)
        assert placed.replica is not None  # the picker has found a pod that is alive
        metrics = self._metrics.engines[model][placed.replica]
        if placed.admission == "full":
            self._withdraw(answer)
            metrics.refused()
            raise ApiError(429, failures.QUEUE_FULL)
        self._live[job.id] = _Live(answer, number, choice, metrics, now_s)
        answer.jobs.append(job.id)
        answer.left += 1
        return placed.replica

    # -- the engines --------------------------------------------------------------------

    def _arm(self) -> None:
        """Have one timer, for the next event of an engine or a queue."""
        next_s = self._fleet.next_event_s()
        queue_s = self._pickers.next_event_s()
        if queue_s is not None and (next_s is None or queue_s < next_s):
            next_s = queue_s
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
        now_s = max(armed_s, self._now_s())
        self._deliver(now_s)
        self._carry_out(self._pickers.wake(now_s))
        self._arm()

    def _deliver(self, now_s: float) -> None:
        self._pickers.look(now_s)
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
                    self._pickers.poke(now_s)
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
        if not answer.spoke and answer.writer is not None:
            answer.spoke = True
            answer.metrics.first_token(token.at_s - answer.call.received_s)
        if answer.writer is not None:
            answer.exchange.data(answer.writer.token(live.number, token.index))

    def _done(self, answer: Answer) -> None:
        answer.left -= 1
        if answer.left:
            return
        call, now_s = answer.call, self._now_s()
        self._pickers.completed(now_s, call, answers.completion_tokens(answer.choices))
        answer.jobs.clear()
        answer.metrics.completed(now_s - call.received_s)
        if answer.writer is None:
            answer.metrics.first_token(now_s - call.received_s)
            answer.exchange.answer(200, _JSON | answer.headers, answer.whole())
        else:
            answer.exchange.data(answer.writer.usage() + answers.DONE)
            answer.exchange.end()

    def _lost(self, answer: Answer) -> None:
        """As vLLM says it: an error object, in the stream where that has begun."""
        self._withdraw(answer)
        self._epp_metrics.failed(answer.call)
        error = ApiError(500, failures.ENGINE_LOST)
        if answer.exchange.headed:
            answer.exchange.data(b"data: " + error.encode() + b"\n\n" + answers.DONE)
            answer.exchange.end()
        else:
            answer.exchange.answer(500, _JSON | answer.headers, error.encode())

    def _withdraw(self, answer: Answer) -> None:
        """Take the answer's sequences out of their engine, wherever they are."""
        now_s = self._now_s()
        self._pickers.look(now_s)
        for job_id in answer.jobs:
            if self._live.pop(job_id, None) is not None:
                self._fleet.cancel(job_id, now_s)
        answer.jobs.clear()
        self._arm()

    def _forget(self, exchange: LocalExchange) -> None:
        """An exchange is over. If its client gave up, its places in queue and batch are free now."""
        answer = self._exchanges.pop(exchange, None)
        if answer is None:
            return
        del self._answers[answer.call.id]
        self._pickers.release(self._now_s(), answer.call)
        if answer.jobs:
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


def _seen(request: WireRequest) -> dict[str, str]:
    """The mark that the endpoint picker leaves on what an engine answers."""
    path = request.path.partition("?")[0]
    return {epp_headers.WENT: "true"} if path in INFERENCE else {}


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
