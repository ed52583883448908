"""One inference request: accepted, decided, carried out, answered as a stream or folded.

Before the first byte an error is a status; after it, the last event of the stream.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web, web_exceptions
from aiohttp.http_exceptions import HttpProcessingError

from contracts.errors import (
    BodyTooLarge,
    ClientFault,
    Draining,
    GatewayError,
    RequestTimeout,
)
from contracts.inference import InferRequest, Operation
from gateway import logs
from gateway.answers import Identity, StreamWriter
from gateway.error_answers import ErrorAnswers
from gateway.flight_recorder import CLIENT_GONE
from gateway.inference import carry_out, decided
from gateway.intake import read_request
from gateway.replies import FoldReply, StreamReply
from gateway.request_record import REQUEST_ID, RequestRecord, record_undecided
from gateway.runtime import Gateway

T = TypeVar("T")
_ID_PREFIX: dict[Operation, str] = {"chat": "chatcmpl-", "completion": "cmpl-", "embedding": "emb-"}
_HIDDEN_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


class InferenceEndpoint:
    """What `/v1/chat/completions` and its siblings do."""

    def __init__(self, gateway: Gateway, errors: ErrorAnswers) -> None:
        self._gateway = gateway
        self._errors = errors
        limits, streams = gateway.config.limits, gateway.config.streams
        self._body_timeout_s = limits.body_timeout
        self._body_limit = int(limits.body)
        self._answer_limit = int(limits.answer)
        self._heartbeat_s = streams.heartbeat
        self._reasoning_field = streams.reasoning_field

    def refuse_unsent(self, request: web.Request) -> BodyTooLarge | None:
        """The error of a body that says itself that it is too large, before it is sent."""
        if (request.content_length or 0) > self._body_limit:
            return self._too_large()
        return None

    async def answer(self, request: web.Request, operation: Operation) -> web.StreamResponse:
        """From the client's bytes to the last byte of its answer, logged and counted.

        Raises GatewayError for what is refused before anything was decided.
        """
        gateway = self._gateway
        accepted_s = gateway.clock()
        try:
            infer = await self._unless_cut(request, self._accept(request, operation))
            retry = request.headers.get("x-stainless-retry-count")
            record = decided(gateway, infer, accepted_s, client_retry=retry)
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
            response = await answer(request, record)
        except (asyncio.CancelledError, ConnectionError):
            record.close(CLIENT_GONE, None)
            raise
        except GatewayError as exc:
            response = self._errors.answer(exc, infer.request_id, record.error_headers(exc))
            record.close(exc.status, exc)
            return response
        except Exception:
            record.close(500, GatewayError("internal error"))
            raise
        record.close(200, record.progress.fault)
        if gateway.draining:
            response.force_close()  # what its client asks next is for another gateway
        return response

    async def _accept(self, request: web.Request, operation: Operation) -> InferRequest:
        """A request of a caller who may call, read and checked."""
        caller = self._gateway.auth.caller(request.headers, request.remote)
        if self._gateway.draining:
            raise Draining("this gateway is shutting down", retry_after_s=1.0)
        return read_request(
            await self._body(request),
            operation,
            request_id=request[REQUEST_ID],
            key=caller.name,
            headers={
                name.lower(): value
                for name, value in request.headers.items()
                if name.lower() not in _HIDDEN_HEADERS
            },
        )

    async def _stream(self, request: web.Request, record: RequestRecord) -> web.StreamResponse:
        reply = StreamReply(
            request,
            StreamWriter(self._identity(record), include_usage=record.infer.include_usage),
            request_id=record.infer.request_id,
            heartbeat_s=self._heartbeat_s,
            headers=record.stream_headers,
            present=self._errors.presentable,
        )
        try:
            await self._unless_cut(request, carry_out(self._gateway, record, reply))
        except GatewayError as exc:
            if not reply.opened:
                raise
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
            reply.stop()
        return await reply.close()

    async def _whole(self, request: web.Request, record: RequestRecord) -> web.StreamResponse:
        reply = FoldReply(self._identity(record), max_bytes=self._answer_limit)
        await self._unless_cut(request, carry_out(self._gateway, record, reply))
        headers = record.headers(record.progress)
        return web.Response(body=reply.body(), headers=headers, content_type="application/json")

    async def _unless_cut(self, request: web.Request, work: Awaitable[T]) -> T:
        """`work`; but Draining, where it is cancelled because the gateway can wait no longer for it:
        its client is still there, and is told. A client that has left is a CancelledError."""
        try:
            return await work
        except asyncio.CancelledError:
            if not self._gateway.draining or _gone(request):
                raise
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # the answer is still to be sent
            message = "this gateway is shutting down and could not wait longer"
            raise Draining(message, retry_after_s=1.0) from None

    def _identity(self, record: RequestRecord) -> Identity:
        operation = record.infer.operation
        return Identity(
            operation=operation,
            id=_ID_PREFIX[operation] + secrets.token_hex(12),
            created_s=int(time.time()),
            model=record.decision.shaping.model,
            reasoning_field=self._reasoning_field,
        )

    async def _body(self, request: web.Request) -> bytes:
        """The whole body, within its bounds of size and time."""
        if (refused := self.refuse_unsent(request)) is not None:
            raise refused
        try:
            async with asyncio.timeout(self._body_timeout_s):
                return await request.read()
        except TimeoutError as exc:
            raise RequestTimeout(
                f"the body did not arrive within {self._body_timeout_s:g} s"
            ) from exc
        except web_exceptions.HTTPRequestEntityTooLarge as exc:
            raise self._too_large() from exc
        except (web.RequestPayloadError, HttpProcessingError) as exc:
            raise ClientFault(
                "the body is not valid HTTP, or not what its Content-Encoding says"
            ) from exc

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._body_limit} bytes")


def log_bug(request: web.Request, exc: Exception) -> None:
    """An exception of our own making."""
    logs.failure("bug", exc, request_id=request[REQUEST_ID], path=request.path)


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
