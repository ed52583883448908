"""One inference request: accepted, decided, carried out, answered as a stream or folded.

Before the first byte an error is a status; after it, the last event of the stream.
"""

import asyncio
from collections.abc import Callable

from contracts.errors import GatewayError
from gateway import logs
from gateway.error_answers import ErrorAnswers
from gateway.flight_recorder import CLIENT_GONE
from gateway.head_lines import Headers, read
from gateway.http_answer import HttpAnswer
from gateway.http_request import HttpRequest
from gateway.inference import carry_out, decided, identity
from gateway.progress import Progress
from gateway.reception import Arrival, Reception, not_cancelled
from gateway.replies import FoldReply, StreamReply
from gateway.request_record import RequestRecord, record_undecided
from gateway.runtime import Gateway
from gateway.tasks.live_request import LiveRequest
from gateway.tasks.registry import Registry
from gateway.tongues import Tongue, Voice


class InferenceEndpoint:
    """What `/v1/chat/completions` and its siblings do, each in the language that it is asked in."""

    def __init__(
        self,
        gateway: Gateway,
        tongue: Tongue,
        errors: ErrorAnswers,
        reception: Reception,
        registry: Registry,
        told: Callable[[HttpRequest], str],
    ) -> None:
        """`told` is what every head says, as lines."""
        self._gateway = gateway
        self._tongue = tongue
        self._told = told
        self._errors = errors
        self._reception = reception
        self._registry = registry
        self._answer_limit = int(gateway.config.limits.answer)
        self._heartbeat_s = gateway.config.streams.heartbeat

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """From the client's bytes to its answer, logged and counted. Raises ConnectionError and CancelledError
        where the client has left."""
        gateway, tongue = self._gateway, self._tongue
        accepted_s = gateway.clock()
        try:
            came = self._reception.receive(request)
            arrival = came if isinstance(came, Arrival) else await came
            asked = tongue.read(
                arrival.body,
                request_id=arrival.request_id,
                key=arrival.caller.name,
                headers=arrival.headers,
            )
            infer, voice = asked.infer, asked.voice
            retry = arrival.headers.get("x-stainless-retry-count")
            found = decided(gateway, infer, accepted_s, client_retry=retry)
            record = found if isinstance(found, RequestRecord) else await found
        except (Exception, asyncio.CancelledError) as exc:
            error = self._error(request, exc)
            record_undecided(gateway, request, tongue.operation, error, accepted_s)
            if error is None:
                raise
            return self._refusal(request, error, tongue.error)
        try:
            if infer.facts.stream:
                answer = await self._stream(request, record, voice)
            else:
                named = identity(gateway, record)
                reply = FoldReply(named, max_bytes=self._answer_limit, folding=voice.folding)
                await self._carry_out(request, record, reply)
                answer = HttpAnswer(
                    record.whole_lines(), content_type="application/json", body=reply.body()
                )
        except (asyncio.CancelledError, ConnectionError):
            record.close(200 if record.delivered else CLIENT_GONE, None)
            raise
        except Exception as exc:
            error = _worded(request, exc)
            try:
                headers = record.error_headers(error) if error is exc else None
            finally:
                record.close(error.status, error)
            return self._refusal(request, error, voice.error, headers)
        record.close(200, record.progress.fault)
        if gateway.draining:
            answer.force_close()  # what its client asks next is for another gateway
        if not answer.begun:
            answer.lines += self._told(request)
        return answer

    def _error(self, request: HttpRequest, exc: BaseException) -> GatewayError | None:
        """What `exc` is for the client; None: there is none any more."""
        if isinstance(exc, asyncio.CancelledError):
            return self._reception.cut(request)
        return None if isinstance(exc, ConnectionError) else _worded(request, exc)

    def _refusal(
        self,
        request: HttpRequest,
        error: GatewayError,
        encode: Callable[[GatewayError, str], bytes],
        headers: Headers | None = None,
    ) -> HttpAnswer:
        told = read(self._told(request))
        return self._errors.direct(error, request.request_id, headers, told=told, encode=encode)

    async def _stream(
        self, request: HttpRequest, record: RequestRecord, voice: Voice
    ) -> HttpAnswer:
        named = identity(self._gateway, record)

        def head(progress: Progress) -> str:
            return record.stream_lines(progress) + self._told(request)

        reply = StreamReply(
            request,
            voice.writer(named, cost=record.cost_usd, max_bytes=self._answer_limit),
            request_id=record.infer.request_id,
            heartbeat_s=self._heartbeat_s,
            headers=head,
            present=self._errors.presentable,
            clock=self._gateway.clock,
        )
        try:
            await self._carry_out(request, record, reply)
            record.progress.fault = record.progress.fault or reply.fault
        except GatewayError as exc:
            if not reply.opened:
                raise
            record.settle(exc)
            record.progress.fault = exc
            reply.fail(exc)
        except ConnectionError:
            reply.abandon()
            raise
        except Exception as exc:
            reply.abandon()
            if not reply.opened:
                raise
            log_bug(request, exc)
            record.progress.fault = GatewayError("internal error")
            reply.fail(record.progress.fault)
        finally:
            record.delivered = reply.delivered
            reply.stop()
        return await reply.close()

    async def _carry_out(
        self, request: HttpRequest, record: RequestRecord, reply: StreamReply | FoldReply
    ) -> None:
        """To the end of the answer. Raises GatewayError: Cancelled and Draining too, where it was cut and
        its client is still there to be told."""
        handler = request.protocol.task
        assert handler is not None
        live = LiveRequest(record, reply, self._gateway.clock, handler)
        self._registry.answering(live)
        try:
            await carry_out(self._gateway, record, reply)
        except asyncio.CancelledError:
            if (cut := self._reception.cut(request)) is not None:
                raise cut from None
            if live.cancelled is None or request.gone:
                raise
            not_cancelled()
            raise live.cancelled from None
        finally:
            self._registry.answered(live)


def _worded(request: HttpRequest, exc: BaseException) -> GatewayError:
    """What a client that is still there is told of `exc`."""
    if isinstance(exc, GatewayError):
        return exc
    log_bug(request, exc)
    return GatewayError("internal error")


def log_bug(request: HttpRequest, exc: BaseException) -> None:
    """An exception of our own making."""
    logs.failure("bug", exc, request_id=request.request_id, path=request.path)
