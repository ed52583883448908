"""RUN-7: a broken stream is continued by a real llama.cpp server, from exactly where its client is."""

from pathlib import Path

import pytest

from tests.fakes.edge import start_edge
from tests.fakes.scripted_engine import Call, ScriptedEngine
from tests.support.llama_server import MODEL, LlamaServer

pytestmark = [pytest.mark.real, pytest.mark.req("RUN-7", "RUN-5")]
CONFIG = """
pools:
  - {{id: dying, engine: openai, endpoint: '{dying}', retries: 0}}
  - {{id: local, engine: llamacpp, endpoint: '{llama}'}}
models:
  - {{name: big, pool: dying, quality: 0.9}}
  - {{name: small, pool: local, upstream: {model}, quality: 0.9}}
routes:
  big: {{targets: [big, small], resume: continue}}
"""
BEGUN = ("Blue ", "seventeen ", "is what the kettle said, and ")
"""No model would begin so by itself: who says it again can only be continuing it."""
NUMBER = ("Blue ", "kettle: ", "word9 ")
"""The model makes a longer number of it, if it is not shown the blank."""


@pytest.mark.parametrize(
    "pieces", [BEGUN, (*BEGUN[:-1], "is what"), NUMBER], ids=["blank", "word", "number"]
)
async def test_a_real_server_goes_on_with_words_that_are_not_its_own(
    llama: LlamaServer, tmp_path: Path, pieces: tuple[str, ...]
) -> None:
    async def dies(call: Call) -> None:
        await call.head()
        for piece in pieces:
            await call.piece(piece)

    engine = ScriptedEngine()
    await engine.start()
    engine.plays(dies)
    edge = await start_edge(tmp_path, CONFIG.format(dying=engine.url, llama=llama.url, model=MODEL))
    try:
        answer = await edge.chat(model="big", stream=True, max_tokens=40, temperature=0)
    finally:
        await edge.aclose()
        await engine.aclose()
    *chunks, done = answer.events
    assert done == "[DONE]"
    assert [told for told in chunks if "error" in told] == []
    said = [choice["delta"].get("content", "") for told in chunks for choice in told["choices"]]
    text, begun = "".join(said), "".join(pieces)
    assert text.startswith(begun)
    assert len(text) > len(begun), "it went on"
    assert text.count(begun.strip()) == 1, "and did not say it again"
    assert len(engine.asked) == 1, "nobody had to begin anew"
