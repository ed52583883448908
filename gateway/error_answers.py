"""An error as its client sees it: status, headers, body, or the last event of a stream.

Must stay true: every error the gateway answers with has a request id; a 429 or 503 says when to come
back, or that it is of no use; nothing leaves that is not the client's business. An engine's own words may hold the key it was
called with or an address, so both are taken out here. Writing to a connection is the callers'.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from contracts.errors import GatewayError, UpstreamFault
from gateway.head_lines import spelled
from gateway.http_answer import HttpAnswer
from gateway.secrets import Redactor

R = TypeVar("R", web.Response, HttpAnswer)
SERVER = "setpoint"
RETRY_AFTER_DEFAULT_S = 1.0
"""For who declined without an estimate of its own."""
SDKS_REPEAT = frozenset({408, 409, 429})
"""Statuses below 500 that SDKs repeat by themselves, if they are not told not to."""
BACKEND = "[backend]"
"""What stands where an engine named an address."""
_PRIVATE_HOST = (
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]|localhost"
    r"|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:local|internal|svc|cluster|lan)"
    r"|[A-Za-z0-9-]+(?=[:/]))"
)
_INNER_ADDRESS = re.compile(
    rf"\bhttps?://{_PRIVATE_HOST}(?::\d+)?(?![A-Za-z0-9.-])[^\s\"'<>)\]]*"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
)
"""URLs of hosts inside (addresses, names without a dot, cluster names), and bare IPv4 addresses. A
public URL stays: engines link to their documentation."""


class Discretion:
    """Takes out of an error's texts what clients must not know."""

    def __init__(self, redactor: Redactor, endpoints: Iterable[str]) -> None:
        """`endpoints` are the URLs of all backends."""
        self._redact = redactor.redact
        names = {name for url in endpoints for name in _names(url)}
        # Longest first, so that the URL goes as a whole and not around its host.
        self._names = sorted(names, key=lambda name: (-len(name), name))

    def presentable(self, error: GatewayError) -> GatewayError:
        """`error` itself, fit for a client and for the log."""
        error.message = self._clean(error.message)
        if isinstance(error, UpstreamFault):
            error.code = self._clean(error.code)
            error.param = error.param and self._clean(error.param)
            if error.status >= 500 and error.where and error.where not in error.message:
                error.message = f"{error.where}: {error.message}"
        return error

    def _clean(self, text: str) -> str:
        for name in self._names:
            text = text.replace(name, BACKEND)
        if "//" in text or "." in text:
            text = _INNER_ADDRESS.sub(BACKEND, text)
        return self._redact(text)


class ErrorAnswers:
    """Errors as responses. While the gateway drains, the connection closes after one."""

    def __init__(self, discretion: Discretion, draining: Callable[[], bool]) -> None:
        self._discretion = discretion
        self._draining = draining

    def presentable(self, error: GatewayError) -> GatewayError:
        """See `Discretion.presentable`."""
        return self._discretion.presentable(error)

    def answer(
        self,
        error: GatewayError,
        request_id: str,
        headers: Mapping[str, str] | None = None,
        *,
        encode: Callable[[GatewayError, str], bytes] = GatewayError.encode,
    ) -> web.Response:
        """aiohttp's response, which nobody has begun to send; `encode` makes its body."""
        return self._last(
            web.Response(
                headers=self._headers(error, request_id, headers),
                status=error.status,
                body=encode(error, request_id),
                content_type="application/json",
            )
        )

    def direct(
        self,
        error: GatewayError,
        request_id: str,
        headers: Mapping[str, str] | None = None,
        *,
        told: Mapping[str, str],
        encode: Callable[[GatewayError, str], bytes],
    ) -> HttpAnswer:
        """The same, for who was asked past aiohttp's router; `told` is what every head says."""
        return self._last(
            HttpAnswer(
                spelled({**self._headers(error, request_id, headers), **told}),
                status=error.status,
                body=encode(error, request_id),
                content_type="application/json",
            )
        )

    def _headers(
        self, error: GatewayError, request_id: str, headers: Mapping[str, str] | None
    ) -> dict[str, str]:
        """Of an error that is made presentable before anything is said of it."""
        self.presentable(error)
        return {**(headers or {}), **headers_of(error, request_id)}

    def _last(self, answer: R) -> R:
        """Of its connection, while the gateway drains."""
        if self._draining():
            answer.force_close()
        return answer


def _names(url: str) -> list[str]:
    """What gives an endpoint away. A host of one word is no address: it may be any word."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return [url, parts.netloc, *([host] if "." in host or ":" in host else [])]


def headers_of(error: GatewayError, request_id: str) -> dict[str, str]:
    """What the SDKs read to decide whether and when to repeat; the body's `retriable` says the same.

    Gives a 429 or 503 that may be repeated, and has no estimate, the default one, so that the body says the same:
    call this before `error.encode`.
    """
    headers = {"Server": SERVER, "x-request-id": request_id}
    hopeless = error.is_of_the_moment and not error.retriable
    if hopeless and (error.status in SDKS_REPEAT or error.status >= 500):
        headers["x-should-retry"] = "false"
    if error.retry_after_s is None and error.status in (429, 503) and not hopeless:
        error.retry_after_s = RETRY_AFTER_DEFAULT_S
    delay_s = error.told_retry_after_s
    if delay_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(delay_s)))
        headers["retry-after-ms"] = str(max(1, round(delay_s * 1000)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="setpoint"'
    return headers
