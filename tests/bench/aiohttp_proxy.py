"""The contender to compare with: what one writes in an afternoon with aiohttp on both sides.

It reads the request, sends it on, and decodes and encodes every event on its way back, as a gateway
must that looks at what it carries. It has no limits, queue, policy, metrics, log or error handling.
"""

import asyncio

import aiohttp
import msgspec
from aiohttp import web

from tests.bench.proxy_command import run

UPSTREAM = web.AppKey("upstream", str)
SESSION = web.AppKey("session", aiohttp.ClientSession)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


async def chat(request: web.Request) -> web.StreamResponse:
    asked = _decode(await request.read())
    session = request.app[SESSION]
    url = f"{request.app[UPSTREAM]}/v1/chat/completions"
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=_encode(asked), headers=headers) as answer:
        if not asked.get("stream"):
            body = _encode(_decode(await answer.read()))
            return web.Response(status=answer.status, body=body, content_type="application/json")
        response = web.StreamResponse(
            status=answer.status, headers={"Content-Type": "text/event-stream"}
        )
        await response.prepare(request)
        async for line in answer.content:
            data = line.strip().removeprefix(b"data: ")
            if not data:
                continue
            shown = data if data == b"[DONE]" else _encode(_decode(data))
            await response.write(b"data: %b\n\n" % shown)
        await response.write_eof()
        return response


async def serve(port: int, upstream: str) -> None:
    """Serve on loopback until the process is stopped."""
    app = web.Application()
    app[UPSTREAM] = upstream
    app.router.add_post("/v1/chat/completions", chat)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        app[SESSION] = session
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
        await site.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(__doc__, serve)
