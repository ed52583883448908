"""The load test measures what it says it measures, against a small server whose timing is known.

Locust patches the standard library for gevent, so it never runs in this process.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
HEAD_TO_CONTENT_S = 0.06
GAP_S = 0.01
TOKENS = 4
Row = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

pytestmark = pytest.mark.req("OPS-4")


def frame(delta: dict[str, str] | None = None, **members: object) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
    event = {"object": "chat.completion.chunk", "choices": choices, **members}
    return f"data: {json.dumps(event)}\n\n".encode()


async def chat(request: web.Request, *, truncate: bool = False) -> web.StreamResponse:
    asked = await request.json()
    assert asked["stream"] is True
    assert asked["stream_options"] == {"include_usage": True}
    assert asked["max_tokens"] == 5
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b": ping\n\n" + frame({"role": "assistant"}))
    await asyncio.sleep(HEAD_TO_CONTENT_S)
    for _ in range(TOKENS):
        await answer.write(frame({"content": "word "}))
        await asyncio.sleep(GAP_S)
    if not truncate:
        finish = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await answer.write(frame(choices=[finish]))
        await answer.write(frame(usage={"completion_tokens": TOKENS, "prompt_tokens": 3}))
        await answer.write(b"data: [DONE]\n\n")
    return answer


async def truncated(request: web.Request) -> web.StreamResponse:
    return await chat(request, truncate=True)


async def guarded(request: web.Request) -> web.StreamResponse:
    if request.headers.get("authorization") != "Bearer sesame":
        return web.Response(status=401)
    return await chat(request)


async def full(request: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"retry-after": "0.5"})


async def models(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def locust(base_url: str, folder: Path, **environment: str) -> tuple[int, dict[str, Row]]:
    """Run the load test for a second; its exit code, and the rows by type."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MODEL", "TOKEN", "MAX_TOKENS")}
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
    command += ["--host", base_url, "--users", "2", "--spawn-rate", "2", "--run-time", "1s"]
    command += ["--stop-timeout", "5", "--json", "--loglevel", "ERROR"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,  # locust reads *.conf from the working directory
        env={**kept, "MAX_TOKENS": "5", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        written, complaint = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    # The final numbers; what `--csv` writes is a snapshot, up to a second old.
    assert written.strip(), complaint.decode()
    return process.returncode, {row["method"]: row for row in json.loads(written)}


def count(row: Row) -> int:
    return int(row["num_requests"])


async def test_ttft_and_tpot_are_rows_of_their_own(tmp_path: Path) -> None:
    async with server(chat) as base_url:
        code, rows = await locust(base_url, tmp_path)
    assert code == 0
    assert rows["POST"]["num_failures"] == 0
    assert count(rows["POST"]) >= 2
    assert count(rows["TTFT"]) == count(rows["TPOT"]) == count(rows["POST"])
    # Lower bounds only: a busy machine may be slower, a correct measurement cannot be faster. A gap
    # has none, since a late reader finds tokens waiting; but the parts must add up to the whole.
    assert float(rows["TTFT"]["min_response_time"]) >= HEAD_TO_CONTENT_S * 950, (
        "the head, a comment and the role are not content"
    )
    assert float(rows["POST"]["min_response_time"]) >= (HEAD_TO_CONTENT_S + TOKENS * GAP_S) * 950
    ttft_ms, tpot_ms, e2e_ms = (
        float(rows[kind]["total_response_time"]) for kind in ("TTFT", "TPOT", "POST")
    )
    assert ttft_ms + (TOKENS - 1) * tpot_ms == pytest.approx(e2e_ms, rel=0.2)


async def test_a_truncated_stream_is_a_failure_and_gives_no_numbers(tmp_path: Path) -> None:
    async with server(truncated) as base_url:
        code, rows = await locust(base_url, tmp_path)
    assert code != 0
    assert rows["POST"]["num_failures"] == count(rows["POST"]) > 0
    assert "TTFT" not in rows
    assert "TPOT" not in rows


async def test_the_token_is_sent(tmp_path: Path) -> None:
    async with server(guarded) as base_url:
        code, rows = await locust(base_url, tmp_path, TOKEN="sesame", MODEL="tiny")
    assert code == 0
    assert "GET" not in rows, "with MODEL set, nobody asks for the list"
    assert count(rows["TTFT"]) >= 2


async def test_a_refused_user_waits_before_it_asks_again(tmp_path: Path) -> None:
    async with server(full) as base_url:
        code, rows = await locust(base_url, tmp_path, MODEL="tiny")
    assert code != 0
    assert 2 <= count(rows["POST"]) <= 2 * 10, "two users, half a second between requests"
