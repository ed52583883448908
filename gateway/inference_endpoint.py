"""One inference request: accepted, decided, carried out, answered as a stream or folded.

Before the first byte an error is a status; after it, the last event of the stream.
"""

import asyncio
from collections.abc import Callable, MutableMapping

from aiohttp import web

from contracts.errors import GatewayError
from gateway import logs
from gateway.error_answers import ErrorAnswers
from gateway.flight_recorder import CLIENT_GONE
from gateway.http_answer import HttpAnswer
from gateway.inference import carry_out, decided, identity
from gateway.progress import Progress
from gateway.reception import Reception, gone, not_cancelled
from gateway.replies import FoldReply, Headers, StreamReply
from gateway.request_record import REQUEST_ID, RequestRecord, record_undecided
from gateway.runtime import Gateway
from gateway.tasks.live_request import LiveRequest
from gateway.tasks.registry import Registry
from gateway.tongues import Asked, Tongue, Voice


class InferenceEndpoint:
    """What `/v1/chat/completions` and its siblings do, in whichever language they are asked."""

    def __init__(
        self,
        gateway: Gateway,
        errors: ErrorAnswers,
        reception: Reception,
        registry: Registry,
        tell: Callable[[web.Request, MutableMapping[str, str]], None],
    ) -> None:
        """`tell` adds to a stream's head what every head says; those that are not sent here get it later."""
        self._gateway = gateway
        self._tell = tell
        self._errors = errors
        self._reception = reception
        self._registry = registry
        self._answer_limit = int(gateway.config.limits.answer)
        self._heartbeat_s = gateway.config.streams.heartbeat

    async def answer(self, request: web.Request, tongue: Tongue) -> web.StreamResponse:
        """From the client's bytes to the last byte of its answer, logged and counted.

        Raises GatewayError for what is refused before anything was decided.
        """
        gateway = self._gateway
        accepted_s = gateway.clock()
        operation = tongue.operation
        try:
            asked = await self._reception.unless_cut(request, self._accept(request, tongue))
            infer = asked.infer
            retry = request.headers.get("x-stainless-retry-count")
            found = decided(gateway, infer, accepted_s, client_retry=retry)
            record = found if isinstance(found, RequestRecord) else await found
        except (asyncio.CancelledError, ConnectionError):
            record_undecided(gateway, request, operation, None, accepted_s)
            raise
        except GatewayError as exc:
            record_undecided(gateway, request, operation, exc, accepted_s)
            raise
        except Exception:
            bug = GatewayError("internal error")
            record_undecided(gateway, request, operation, bug, accepted_s)
            raise
        try:
            answer = self._stream if infer.facts.stream else self._whole
            response = await answer(request, record, asked.voice)
        except (asyncio.CancelledError, ConnectionError):
            record.close(200 if record.delivered else CLIENT_GONE, None)
            raise
        except GatewayError as exc:
            headers = record.error_headers(exc)
            response = self._errors.answer(exc, infer.request_id, headers, encode=asked.voice.error)
            record.close(exc.status, exc)
            return response
        except Exception:
            record.close(500, GatewayError("internal error"))
            raise
        record.close(200, record.progress.fault)
        if gateway.draining:
            response.force_close()  # what its client asks next is for another gateway
        return response

    async def _accept(self, request: web.Request, tongue: Tongue) -> Asked:
        """A request of a caller who may call, read and checked."""
        arrival = await self._reception.receive(request)
        return tongue.read(
            arrival.body,
            request_id=arrival.request_id,
            key=arrival.caller.name,
            headers=arrival.headers,
        )

    async def _stream(
        self, request: web.Request, record: RequestRecord, voice: Voice
    ) -> web.StreamResponse:
        named = identity(self._gateway, record)

        def head(progress: Progress) -> Headers:
            headers = record.stream_headers(progress)
            self._tell(request, headers)
            return headers

        reply = StreamReply(
            request,
            voice.writer(named, cost=record.cost_usd, max_bytes=self._answer_limit),
            request_id=record.infer.request_id,
            heartbeat_s=self._heartbeat_s,
            headers=head,
            present=self._errors.presentable,
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

    async def _whole(
        self, request: web.Request, record: RequestRecord, voice: Voice
    ) -> web.StreamResponse:
        named = identity(self._gateway, record)
        reply = FoldReply(named, max_bytes=self._answer_limit, folding=voice.folding)
        await self._carry_out(request, record, reply)
        headers = record.whole_headers()
        return HttpAnswer(headers, content_type="application/json", body=reply.body())

    async def _carry_out(
        self, request: web.Request, record: RequestRecord, reply: StreamReply | FoldReply
    ) -> None:
        """To the end of the answer. Raises GatewayError: Cancelled and Draining too, where it was cut and
        its client is still there to be told."""
        live = LiveRequest(record, reply, self._gateway.clock)
        work = carry_out(self._gateway, record, reply)
        self._registry.answering(live)
        try:
            await self._reception.unless_cut(request, work)
        except asyncio.CancelledError:
            if live.cancelled is None or gone(request):
                raise
            not_cancelled()
            raise live.cancelled from None
        finally:
            self._registry.answered(live)


def log_bug(request: web.Request, exc: Exception) -> None:
    """An exception of our own making."""
    logs.failure("bug", exc, request_id=request[REQUEST_ID], path=request.path)
