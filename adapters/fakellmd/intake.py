"""Inference requests to the fake: checked, read, and made into answers that are waited for.

Here a request fails that never gets as far as an endpoint picker: a body that nobody can read, a
header that asks for an error, the injection rate. When and where it runs is not decided here.
"""

from collections.abc import Callable

import msgspec

from adapters.dialect import WireRequest
from adapters.fakellmd import answers, bodies, epp_headers, failures
from adapters.fakellmd.draws import mix
from adapters.fakellmd.epp_headers import Wants
from adapters.fakellmd.epp_metrics import CallMetrics
from adapters.fakellmd.exchange import LocalExchange
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.inflight import Call
from adapters.fakellmd.settings import LlmdSettings

Headers = dict[str, str]
INFERENCE = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


class Answer:
    """An answer that is waited for: what is to be done for it, and how many of its sequences still run.

    `writer` None: it is not a stream, and `whole` makes it when the last sequence is done.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        call: Call,
        choices: tuple[bodies.Choice, ...],
        priority: int,
        writer: answers.StreamWriter | None,
        whole: Callable[[], bytes],
    ) -> None:
        self.exchange = exchange
        self.call = call
        self.choices = choices
        self.priority = priority
        self.writer = writer
        self.whole = whole
        self.headers: Headers = {}
        self.metrics: CallMetrics
        """Its instruments, from the moment when it is forwarded."""
        self.jobs: list[int] = []
        self.left = 0
        self.spoke = False
        """Its first token came."""


class _Asking(msgspec.Struct, frozen=True):
    """A request as an engine gets it, and what its headers told the endpoint picker."""

    id: str
    body: bytes
    wants: Wants
    named: str
    """The model of the body that was rewritten; "" where it was not."""
    now_s: float


class Intake:
    """`settings` returns those in force; `wall_clock` gives Unix seconds for `created` members."""

    def __init__(
        self, settings: Callable[[], LlmdSettings], wall_clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._requests = 0

    def headers(self, request: WireRequest) -> Headers:
        """The request's headers by lower-case name. Raises ApiError for a body that is not read."""
        headers = {name.lower(): value for name, value in request.headers}
        limit = self._settings().max_body_bytes
        if len(request.body) > limit:
            raise ApiError(413, f"the body is longer than {limit} bytes")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(400, "Unsupported Media Type: Only 'application/json' is allowed")
        return headers

    def answer(
        self, path: str, request: WireRequest, exchange: LocalExchange, now_s: float
    ) -> Answer:
        """What a request to one of INFERENCE waits for. Raises ApiError."""
        settings, asking = self._settings(), self._ask(request, now_s)
        if path == "/v1/embeddings":
            return self._embedding(bodies.parse_embedding(asking.body, settings), asking, exchange)
        parse = bodies.parse_chat if path == "/v1/chat/completions" else bodies.parse_completion
        return self._generation(parse(asking.body, settings), asking, exchange)

    def _ask(self, request: WireRequest, now_s: float) -> _Asking:
        """Count the request, and let it fail if a header or the injection rate says so."""
        settings, headers = self._settings(), self.headers(request)
        wants = epp_headers.read(headers, settings.epp)
        headers = epp_headers.stripped(headers)
        self._requests += 1
        if "x-return-error" in headers:
            raise failures.asked_for(headers["x-return-error"])
        failure = failures.injected(settings, self._requests)
        if failure is not None:
            raise failure
        body, named = request.body, ""
        if wants.model_rewrite:
            body, named = epp_headers.rewritten(body, wants.model_rewrite)
        return _Asking(self._answer_id(headers), body, wants, named, now_s)

    def _answer_id(self, headers: Headers) -> str:
        own = f"{mix(self._settings().seed, 13, self._requests):016x}"
        # A server hands on bytes that are not UTF-8 as lone surrogates, which no JSON can carry.
        told = headers.get("x-request-id", "").encode(errors="replace").decode()
        return told or own

    def _generation(
        self, asked: bodies.Generation, asking: _Asking, exchange: LocalExchange
    ) -> Answer:
        created = int(self._wall_clock())
        writer = answers.StreamWriter(asked, asking.id, created) if asked.stream else None
        return Answer(
            exchange,
            self._call(asking, asked.model, asked.prompt_tokens, stream=asked.stream),
            asked.choices,
            asked.priority,
            writer,
            lambda: answers.document(asked, asking.id, created),
        )

    def _embedding(
        self, asked: bodies.Embedding, asking: _Asking, exchange: LocalExchange
    ) -> Answer:
        created = int(self._wall_clock())
        return Answer(
            exchange,
            self._call(asking, asked.model, asked.prompt_tokens, stream=False),
            (bodies.prefill_only(asked.prompt_tokens),),
            0,
            None,
            lambda: answers.embeddings(asked, asking.id, created),
        )

    def _call(self, asking: _Asking, target: str, prompt_tokens: int, *, stream: bool) -> Call:
        objectives = self._settings().epp.objectives
        return Call(
            id=self._requests,
            model=asking.named or target,
            target=target,
            wants=asking.wants,
            # An unknown objective silently has priority 0.
            priority=objectives.get(asking.wants.objective, 0),
            prompt_tokens=prompt_tokens,
            body_bytes=len(asking.body),
            received_s=asking.now_s,
            stream=stream,
        )
