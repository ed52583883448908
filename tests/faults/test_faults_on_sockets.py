"""The faults that are faults of TCP, over real connections: resets, silence, a body that is cut off."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.edge import Answer, Edge, start_edge
from tests.fakes.scripted import DONE, chunk
from tests.fakes.scripted_engine import Call, Script, ScriptedEngine, is_silent
from tests.faults.stage import TEXT, USAGE, WORDS

pytestmark = pytest.mark.req("RUN-5", "RUN-7")
CONFIG = """
pools:
  - {{id: main, engine: openai, endpoint: '{main}', timeouts: {{first_token: 200ms, idle: 2s}}}}
  - {{id: spare, engine: openai, endpoint: '{spare}'}}
models:
  - {{name: main, pool: main, quality: 0.9}}
  - {{name: spare, pool: spare, quality: 0.8}}
routes:
  main: {{targets: [main, spare], resume: replay}}
"""
streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


class Scene:
    """A gateway before two providers."""

    def __init__(self, edge: Edge, main: ScriptedEngine, spare: ScriptedEngine) -> None:
        self.edge, self.main, self.spare = edge, main, spare

    async def ask(self, *, stream: bool) -> Answer:
        members: dict[str, Any] = {"stream": True} if stream else {}
        return await self.edge.chat(model="main", **members)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    main, spare = ScriptedEngine(), ScriptedEngine()
    await main.start()
    await spare.start()
    spare.plays(healthy)
    edge = await start_edge(tmp_path, CONFIG.format(main=main.url, spare=spare.url))
    yield Scene(edge, main, spare)
    await edge.aclose()
    await main.aclose()
    await spare.aclose()


async def begun(call: Call, count: int) -> None:
    await call.head()
    for word in WORDS[:count]:
        await call.piece(word)


async def healthy(call: Call) -> None:
    await begun(call, len(WORDS))
    await call.send(chunk({}, finish="stop") + USAGE + DONE)


async def resets(call: Call) -> None:
    """A RST instead of an end."""
    raw: socket.socket = call.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.writer.transport.abort()


async def resets_after_40(call: Call) -> None:
    await begun(call, 40)
    await asyncio.sleep(0.05)  # a RST throws away what its receiver has not read yet
    await resets(call)


async def closes_after_40(call: Call) -> None:
    await begun(call, 40)


async def cuts_a_chunk_after_40(call: Call) -> None:
    """HTTP itself says that more was to come."""
    await call.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for word in WORDS[:40]:
        piece = chunk({"content": word})
        await call.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await call.send(b"ff\r\ndata: {")


def is_whole(answer: Answer, *, stream: bool) -> None:
    assert answer.status == 200
    assert answer.complete
    if not stream:
        assert answer.json["choices"][0]["message"]["content"] == TEXT
        return
    *chunks, done = answer.events
    assert done == "[DONE]"
    assert all("error" not in told for told in chunks)
    pieces = [choice["delta"].get("content", "") for told in chunks for choice in told["choices"]]
    assert "".join(pieces) == TEXT


@streamed_or_whole
async def test_a_reset_before_any_byte_is_repeated(scene: Scene, stream: bool) -> None:
    """F05."""
    scene.main.plays(resets, healthy)
    answer = await scene.ask(stream=stream)
    is_whole(answer, stream=stream)
    assert answer.headers["x-setpoint-model"] == "main"
    assert (len(scene.main.asked), len(scene.spare.asked)) == (2, 0)


@streamed_or_whole
async def test_silence_is_left_for_the_fallback(scene: Scene, stream: bool) -> None:
    """F06."""
    scene.main.plays(is_silent)
    answer = await scene.ask(stream=stream)
    is_whole(answer, stream=stream)
    assert answer.headers["x-setpoint-model"] == "spare"
    assert len(scene.main.asked) == 1
    await asyncio.wait_for(scene.main.left.wait(), 5)


@streamed_or_whole
@pytest.mark.parametrize("dies", [resets_after_40, closes_after_40, cuts_a_chunk_after_40])
async def test_a_body_that_is_cut_off_is_gone_on_with(
    scene: Scene, dies: Script, stream: bool
) -> None:
    """F08."""
    scene.main.plays(dies)
    is_whole(await scene.ask(stream=stream), stream=stream)
    assert len(scene.main.asked) == 2, "the same model is the likeliest to say the same again"
    assert len(scene.spare.asked) == 1
