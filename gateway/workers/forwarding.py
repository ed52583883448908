"""A request that came to a worker and is another process's to answer, handed on and its answer handed back.

Over sockets in a folder that only these processes can open. Must stay true: whoever answers sees the
request as its client sent it, and where it came from; a request is handed on once at most; a stream is
passed on as it comes, and a client that leaves ends it there too.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from contracts.errors import Restarting
from gateway.protocol import HOP, PEER

CONNECT_S = 2.0
GATHER_S = 2.0
"""How long one process may take where the answers of several make one."""
_OF_ONE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "host",
        HOP.lower(),
        PEER.lower(),
    }
)
_LENGTHS = frozenset({"content-length", "content-encoding"})


def handed_on(request: web.Request) -> bool:
    """It has been handed on already: here is where it is answered."""
    protocol = request.protocol
    return getattr(protocol, "inner", False) and HOP in request.headers


class Peer:
    """Another process of this gateway, by its socket. It may be gone and come back."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def ask(
        self,
        request: web.Request,
        *,
        body: bool = True,
        head_s: float | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Its answer to `request`, with the body that the client sends, if it sends one. Raises Restarting
        where it cannot be reached, or has not begun to answer after `head_s`; TimeoutError where the answer
        is not whole after `timeout_s`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=self._path, limit=0),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        data = request.content if body and request.body_exists else None
        asked = self._session.request(
            request.method,
            URL.build(scheme="http", host="gateway").join(request.rel_url),
            headers=_headers(request),
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
        )
        try:
            async with asyncio.timeout(head_s) as bound:
                answer = await asked
            async with answer:
                yield answer
        except (aiohttp.ClientConnectionError, FileNotFoundError) as exc:
            message = f"the {self.name} of this gateway is being started again: repeat in a second"
            raise Restarting(message, retry_after_s=1.0) from exc
        except TimeoutError as exc:
            if not bound.expired():
                raise
            message = f"the {self.name} of this gateway does not answer: repeat in a second"
            raise Restarting(message, retry_after_s=1.0) from exc

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


async def pass_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """What another process answered, to the client, as it comes."""
    headers = CIMultiDict(
        (name, value)
        for name, value in answer.headers.items()
        if name.lower() not in _OF_ONE_CONNECTION
    )
    if "text/event-stream" not in answer.headers.get("content-type", ""):
        body = await answer.read()
        headers.popall("content-length", None)
        return web.Response(status=answer.status, body=body, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    if (transport := request.transport) is not None:
        transport.set_write_buffer_limits(high=0)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except aiohttp.ClientError as exc:
        raise ConnectionResetError("who answered is gone") from exc
    response.force_close()
    return response


async def first_that_knows(
    request: web.Request, peers: Mapping[int, Peer]
) -> web.StreamResponse | None:
    """The answer of the one that does not say 404, with all of them asked at once; None if all do. Raises
    Restarting where none knows it and one of them could not say: it may be the one that does."""
    found: asyncio.Queue[web.StreamResponse | Exception | None] = asyncio.Queue()

    async def ask(peer: Peer) -> None:
        try:
            async with peer.ask(request, body=False, head_s=GATHER_S) as answer:
                if answer.status == 404:
                    found.put_nowait(None)
                    return
                found.put_nowait(await pass_on(request, answer))
        except (Restarting, ConnectionError) as exc:
            found.put_nowait(exc)

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(peer)) for peer in peers.values()]
        away: Restarting | None = None
        try:
            for _ in asking:
                answer = await found.get()
                if isinstance(answer, Restarting):
                    away = answer
                elif isinstance(answer, Exception):
                    raise answer
                elif answer is not None:
                    return answer
        finally:
            for task in asking:
                task.cancel()
    if away is not None:
        raise away
    return None


async def from_all(request: web.Request, peers: Mapping[int, Peer]) -> dict[int, tuple[int, bytes]]:
    """Status and body of each that answers in time."""

    async def ask(peer: Peer) -> tuple[int, bytes] | None:
        try:
            async with peer.ask(request, body=False, timeout_s=GATHER_S) as answer:
                return answer.status, await answer.read()
        except (Restarting, TimeoutError, aiohttp.ClientError):
            return None

    answers = await asyncio.gather(*map(ask, peers.values()))
    return {
        number: answer for number, answer in zip(peers, answers, strict=True) if answer is not None
    }


def _headers(request: web.Request) -> CIMultiDict[str]:
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _OF_ONE_CONNECTION
    )
    if not request.body_exists or "content-encoding" in request.headers:
        for name in _LENGTHS:  # what comes compressed is read as it was before
            headers.popall(name, None)
    headers[HOP] = "1"
    headers[PEER] = request.remote or ""
    return headers
