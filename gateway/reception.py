"""What every door does first with a request for work: who calls, is it open, the body within its bounds.

What the body means, and what becomes of it, is the doors' own business.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from aiohttp import web, web_exceptions
from aiohttp.http_exceptions import HttpProcessingError

from contracts.errors import BodyTooLarge, ClientFault, Draining, Forbidden, RequestTimeout
from gateway.auth import Caller, presented_token
from gateway.credential_headers import shown_as
from gateway.protocol import handed_on_from
from gateway.request_record import REQUEST_ID
from gateway.runtime import Gateway

T = TypeVar("T")
_CALLER = web.RequestKey("caller", Caller)


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a caller who may call. `headers` are lower-case, without credentials, and without those that
    hold the caller's token under another name: what is kept and shown of a request shows none."""

    request_id: str
    caller: Caller
    body: bytes
    headers: dict[str, str]


class Reception:
    """One gateway's."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        limits = gateway.config.limits
        self._body_timeout_s = limits.body_timeout
        self._body_limit = int(limits.body)

    def caller(self, request: web.Request) -> Caller:
        """Who sent it; looked up once, however often it is asked. Raises as `Authenticator.caller`."""
        known = request.get(_CALLER)
        if known is None:
            # Another process of this gateway has no address, and says whose request it hands on.
            peer = request.remote or handed_on_from(request)
            known = request[_CALLER] = self._gateway.auth.caller(request.headers, peer)
        return known

    def operator(self, request: web.Request) -> Caller:
        """The same, for what only the operator may do. Raises Forbidden (403) as well."""
        caller = self.caller(request)
        if not caller.operator:
            raise Forbidden("this needs the operator's token")
        return caller

    async def receive(self, request: web.Request) -> Arrival:
        """Raises GatewayError: who may not call, a gateway that shuts down, a body that is too large, too
        slow, or not HTTP."""
        caller = self.caller(request)
        if self._gateway.draining:
            raise Draining("this gateway is shutting down", retry_after_s=1.0)
        # Where nobody needs a token, what SDKs send is no secret, and may be any word.
        token = None if self._gateway.auth.open else presented_token(request.headers)
        return Arrival(
            request_id=request[REQUEST_ID],
            caller=caller,
            body=await self._body(request),
            headers={
                lower: value
                for name, value in request.headers.items()
                if (lower := shown_as(name)) is not None
                and (not token or token not in value.split())
            },
        )

    def refuse_unsent(self, request: web.Request) -> BodyTooLarge | None:
        """The error of a body that says itself that it is too large, before it is sent."""
        if (request.content_length or 0) > self._body_limit:
            return self._too_large()
        return None

    async def unless_cut(self, request: web.Request, work: Awaitable[T]) -> T:
        """`work`; but Draining, where it is cancelled because the gateway can wait no longer for it:
        its client is still there, and is told. A client that has left is a CancelledError."""
        try:
            return await work
        except asyncio.CancelledError:
            if not self._gateway.draining or gone(request):
                raise
            not_cancelled()
            message = "this gateway is shutting down and could not wait longer"
            raise Draining(message, retry_after_s=1.0) from None

    async def _body(self, request: web.Request) -> bytes:
        """The whole body, within its bounds of size and time."""
        try:
            if request.content.is_eof():  # it came with its head, as most do: nothing to wait for
                body = request.content.read_nowait()
                if len(body) > self._body_limit:
                    raise self._too_large()
                return body
            if (refused := self.refuse_unsent(request)) is not None:
                raise refused
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


def gone(request: web.Request) -> bool:
    """Its client has left."""
    return request.transport is None or request.transport.is_closing()


def not_cancelled() -> None:
    """The handler that runs now was cancelled, and its answer is still to be sent."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
