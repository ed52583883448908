"""The plug-in of docs/dialects.md: installed as pip would leave it, named in a configuration, and used."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from adapters.registry import GROUP, dialect_for
from tests.fakes.edge import Edge, chat_body, start_edge
from tests.fakes.scripted_engine import Call, ScriptedEngine

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "parlance.py"
MAX_LINES = 60
pytestmark = pytest.mark.req("RUN-2")


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution `setpoint-parlance` on the path."""
    site = tmp_path / "site-packages"
    info = site / "setpoint_parlance-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "parlance.py").write_text(EXAMPLE.read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: setpoint-parlance\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nparlance = parlance:Parlance\n")
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("parlance", None)


async def speak(call: Call) -> None:
    if call.asked.path == "/voices":
        await call.head(kind="application/json")
        await call.send(b"[]")
        return
    await call.head()
    await call.send(b'event: word\ndata: "Good"\n\nevent: word\ndata: " day"\n\n')
    await call.send(b'event: done\ndata: "stop"\n\n')


async def edge_before(engine: ScriptedEngine, folder: Path, unsupported: str = "refuse") -> Edge:
    engine.plays(speak)
    return await start_edge(
        folder,
        f"pools: [{{id: p, engine: parlance, endpoint: '{engine.url}', api_key: sesame, "
        f"unsupported: {unsupported}}}]\nmodels: [{{name: served, pool: p, upstream: bass}}]\n",
    )


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    await engine.start()
    yield engine
    await engine.aclose()


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= MAX_LINES


def test_the_page_shows_where_it_is_and_how_it_is_declared() -> None:
    page = (ROOT / "docs" / "dialects.md").read_text()
    assert "examples/parlance.py" in page
    assert f'[project.entry-points."{GROUP}"]\nparlance = "parlance:Parlance"' in page


async def test_a_gateway_speaks_with_an_engine_that_it_was_not_shipped_with(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    edge = await edge_before(engine, tmp_path)
    try:
        whole = await edge.chat(max_tokens=5)
        assert whole.json["choices"][0]["message"]["content"] == "Good day"
        streamed = await edge.chat(stream=True)
        assert streamed.events[-1] == "[DONE]"
        refused = await edge.chat(seed=1)
        assert (refused.status, refused.error["param"]) == (400, "seed")
    finally:
        await edge.aclose()
    asked = next(asked for asked in engine.asked if asked.path == "/speak")
    assert asked.headers["authorization"] == "Bearer sesame"
    assert asked.headers["content-type"] == "application/json"
    assert msgspec.json.decode(asked.body) == {"voice": "bass", "said": ["user: Hi"], "words": 5}


async def test_what_it_cannot_do_is_dropped_where_the_pool_says_so(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    edge = await edge_before(engine, tmp_path, "drop")
    try:
        answer = await edge.ask(
            "POST", "/v1/chat/completions", chat_body(seed=1, temperature=0.5, stream=True)
        )
    finally:
        await edge.aclose()
    assert answer.status == 200
    assert answer.headers["x-setpoint-dropped"] == "seed,temperature"


IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


async def test_what_a_message_says_is_never_lost_even_where_the_pool_drops_parameters(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    edge = await edge_before(engine, tmp_path, "drop")
    user = {"role": "user", "content": "Hi"}
    try:
        for told, param in (
            (IMAGE, "messages[1].content[0]"),
            ({"role": "assistant", "tool_calls": [CALL]}, "messages[1].tool_calls"),
            ({"role": "tool", "tool_call_id": "1", "content": "4"}, "messages[1].role"),
            ({"role": "assistant", "audio": {"id": "a"}}, "messages[1].audio"),
        ):
            answer = await edge.chat(messages=[user, told])
            assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
            assert answer.error["param"] == param
    finally:
        await edge.aclose()
    assert [asked.path for asked in engine.asked if asked.path == "/speak"] == []


def test_its_decoder_keeps_the_rules() -> None:
    decoder = dialect_for("parlance").decoder(None, None, None)  # type: ignore[arg-type]
    events = decoder.feed(b"event: word\ndata: {broken\n\n")
    assert [type(event).__name__ for event in events] == ["Fault"]
