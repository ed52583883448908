"""What every door does first with a request for work: who calls, is it open, the body within its bounds.

What the body means, and what becomes of it, is the doors' own business.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from contracts.errors import (
    BodyTooLarge,
    ClientFault,
    Draining,
    ExpectationFailed,
    Forbidden,
    RequestTimeout,
)
from gateway.auth import Caller, Visitor
from gateway.credential_headers import SHOWN_AS
from gateway.http_request import HttpRequest
from gateway.protocol import came_from
from gateway.runtime import Gateway

T = TypeVar("T")


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

    def visitor(self, request: HttpRequest) -> Visitor:
        """Who sent it; looked up once, however often it is asked. Raises as `Authenticator.visitor`."""
        found = request.visitor
        if found is None:
            auth, headers = self._gateway.auth, request.headers
            found = auth.known(headers) or auth.visitor(headers, came_from(request))
            request.visitor = found
        return found

    def caller(self, request: HttpRequest) -> Caller:
        """The same, by name."""
        return self.visitor(request).caller

    def operator(self, request: HttpRequest) -> Caller:
        """The same, for what only the operator may do. Raises Forbidden (403) as well."""
        caller = self.caller(request)
        if not caller.operator:
            raise Forbidden("this needs the operator's token")
        return caller

    def receive(self, request: HttpRequest) -> Arrival | Awaitable[Arrival]:
        """To be awaited only where the body has not come with its head, as most have. Raises GatewayError: who may
        not call, a gateway that shuts down (also while the body comes), a body that is too large, too slow, or not
        HTTP."""
        visitor = self.visitor(request)
        if self._gateway.draining:
            raise Draining("this gateway is shutting down", retry_after_s=1.0)
        if request.awaits_word:
            self.invite(request)
        if (body := request.take_whole()) is not None:
            return self._arrival(request, visitor, body)
        self._refuse_unsent(request)
        return self._when_it_has_come(request, visitor)

    async def received(self, request: HttpRequest) -> Arrival:
        """The same, for who awaits it in any case."""
        found = self.receive(request)
        return found if isinstance(found, Arrival) else await found

    def _arrival(self, request: HttpRequest, visitor: Visitor, body: bytes) -> Arrival:
        if len(body) > self._body_limit:
            raise self._too_large()
        token = visitor.token
        return Arrival(
            request_id=request.request_id,
            caller=visitor.caller,
            body=body,
            headers={
                shown: value
                for name, value in request.headers.items()
                if (shown := SHOWN_AS[name]) is not None
                and (not token or token not in value or token not in value.split())
            },
        )

    async def _when_it_has_come(self, request: HttpRequest, visitor: Visitor) -> Arrival:
        try:
            body = await self.unless_cut(request, self._body(request.content))
        except TimeoutError as exc:
            raise RequestTimeout(
                f"the body did not arrive within {self._body_timeout_s:g} s"
            ) from exc
        except (web.RequestPayloadError, HttpProcessingError) as exc:
            raise ClientFault(
                "the body is not valid HTTP, or not what its Content-Encoding says"
            ) from exc
        return self._arrival(request, visitor, body)

    def invite(self, request: HttpRequest) -> None:
        """Tell a client that asks first, by `Expect`, to send its body. Raises ExpectationFailed, and
        BodyTooLarge for what is not to be sent at all."""
        if not request.awaits_word:
            return
        if request.headers["Expect"].lower() != "100-continue":
            raise ExpectationFailed("of Expect, only 100-continue can be met")
        self._refuse_unsent(request)
        request.awaits_word = False
        if (transport := request.protocol.transport) is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def cut(self, request: HttpRequest) -> Draining | None:
        """Why the task that runs now was cancelled: the gateway could wait no longer for it, and its client is
        still there to be told, so that it goes on. None: the client has left."""
        if not self._gateway.draining or request.gone:
            return None
        not_cancelled()
        message = "this gateway is shutting down and could not wait longer"
        return Draining(message, retry_after_s=1.0)

    async def unless_cut(self, request: HttpRequest, work: Awaitable[T]) -> T:
        """`work`; but Draining, where it was `cut`."""
        try:
            return await work
        except asyncio.CancelledError:
            if (cut := self.cut(request)) is None:
                raise
            raise cut from None

    def _refuse_unsent(self, request: HttpRequest) -> None:
        """A body that says itself that it is too large, before it is sent."""
        told = request.headers.get("Content-Length")
        if told is not None and int(told) > self._body_limit:
            raise self._too_large()

    async def _body(self, content: StreamReader) -> bytes:
        """The whole body, within its bounds of size and time."""
        body = bytearray()
        async with asyncio.timeout(self._body_timeout_s):
            while piece := await content.readany():
                body += piece
                if len(body) > self._body_limit:
                    raise self._too_large()
        return bytes(body)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._body_limit} bytes")


def not_cancelled() -> None:
    """The handler that runs now was cancelled, and its answer is still to be sent."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
