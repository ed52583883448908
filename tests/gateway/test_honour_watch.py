"""Whether llm-d does what intents ask of it: looked at within bounds, and each change told once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from aiohttp import web

from adapters.fakellmd.epp_settings import EppSettings
from adapters.fakellmd.server import make_app
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from contracts.catalog import Catalog
from contracts.errors import UpstreamFault
from contracts.policy import Intent
from gateway import honour_watch
from gateway.honour_watch import LOOK_S, SCRAPE_BYTES, SCRAPE_TIMEOUT_S, HonourWatch
from policies.honour import ENOUGH, Honour, HonourState, Verdict
from policies.loop import Loop
from policies.policy_set import PolicySet
from tests.fakes.edge import Edge
from tests.fakes.scripted import Script, ScriptedTransport, broken, data, end, head

pytestmark = pytest.mark.req("INT-8")
COUNTED = b'llm_d_epp_flow_control_requests_total{outcome="Dispatched",priority="%d",inference_pool="p"} %d\n'


class Watched:
    """A watch over one pool, `cluster`, whose endpoint picker's metrics are what a test says."""

    def __init__(self, *scripts: Script, **intents: Intent) -> None:
        clock = asyncio.get_running_loop().time
        self.loop = Loop(PolicySet(), Catalog(), clock())
        self.honour = Honour()
        self.transport = ScriptedTransport(*scripts)
        self.intents = {"interactive": Intent(name="interactive"), **intents}
        self.watch = HonourWatch(
            self.loop,
            {"cluster": self.honour},
            intents=lambda: self.intents,
            sources={"cluster": (self.transport, "/metrics")} if scripts else {},
            clock=clock,
        )

    @property
    def words(self) -> list[str]:
        return [decision.words for decision in self.loop.tick(0.0)]


def page(text: bytes, status: int = 200, start_s: float = 0.01) -> Script:
    return [head(start_s, status), data(start_s, text), end(start_s)]


def counted(requests: int, priority: int = 0) -> Script:
    return page(COUNTED % (priority, requests))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str | None]]]:
    """What was logged of the address so far."""
    caplog.set_level(logging.INFO)

    def read() -> list[tuple[str, str | None]]:
        lines = [r for r in caplog.records if r.getMessage().startswith("picker_metrics")]
        return [(line.getMessage(), line.fields["reason"]) for line in lines]

    return read


def serve_requests(honour: Honour, count: int = ENOUGH, priority: int = 10) -> None:
    """As if so many requests under the objective `interactive` had been answered."""
    now_s = asyncio.get_running_loop().time()
    for _ in range(count):
        honour.answered("interactive", priority, None, now_s)


# -- the counters --------------------------------------------------------------------------


@pytest.mark.looptime
async def test_an_objective_that_is_counted_under_priority_0_is_told_once() -> None:
    watched = Watched(*(counted(5 + n * ENOUGH) for n in range(4)))
    await watched.watch.look()
    assert watched.words == []
    for _ in range(3):
        serve_requests(watched.honour)
        await watched.watch.look()
    (words,) = watched.words
    assert words == (
        "llm-d does not honour interactive in cluster: llm-d counts its requests under priority 0: "
        "is there an InferenceObjective named 'interactive'?"
    )


@pytest.mark.looptime
async def test_it_asks_for_the_metrics_and_nothing_else() -> None:
    watched = Watched(counted(1))
    await watched.watch.look()
    (request,) = watched.transport.requests
    assert (request.method, request.path, request.body) == ("GET", "/metrics", b"")
    assert not [name for name, _ in request.headers if name.lower() == "authorization"]


@pytest.mark.looptime
async def test_it_looks_every_few_seconds() -> None:
    watched = Watched(counted(1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4 * LOOK_S):
            await watched.watch.run()
    assert watched.transport.started_s[0] == pytest.approx(LOOK_S)
    assert len(watched.transport.started_s) == 3


SILENCE: dict[str, tuple[Script, str]] = {
    "silent": ([], f"no answer within {SCRAPE_TIMEOUT_S:g} s"),
    "unreachable": ([broken(0.01, UpstreamFault("cannot connect"))], "cannot connect"),
    "forbidden": (page(b"no", 403), "it answers with status 403"),
    "no page": (page(b"gone", 404), "it answers with status 404"),
    "no picker's": (page(b"# HELP x\nx 1\n"), "counts no requests by priority"),
    "no text": (page(b"\xff\x00" * 1000), "counts no requests by priority"),
    "empty": (page(b""), "counts no requests by priority"),
    "endless": (
        [head(0.01), *(data(0.01, b"x" * (1 << 20)) for _ in range(6))],
        f"the answer is larger than {SCRAPE_BYTES} bytes",
    ),
    "cut": ([head(0.01), broken(0.02, UpstreamFault("cut off"))], "cut off"),
}


@pytest.mark.looptime
@pytest.mark.req("SEC-5")
@pytest.mark.parametrize("how", SILENCE)
async def test_silence_is_logged_once_and_proves_nothing(
    how: str, logged: Callable[[], list[tuple[str, str | None]]]
) -> None:
    script, why = SILENCE[how]
    watched = Watched(script)
    began_s = asyncio.get_running_loop().time()
    for _ in range(3):
        serve_requests(watched.honour)
        await watched.watch.look()
    assert asyncio.get_running_loop().time() - began_s <= 3 * SCRAPE_TIMEOUT_S
    ((event, reason),) = logged()
    assert event == "picker_metrics_unread"
    assert why in (reason or "")
    assert watched.words == []
    assert watched.watch.states("interactive")["cluster"].verdict == "unconfirmed"


@pytest.mark.looptime
async def test_silence_changes_no_verdict_and_its_end_is_logged_too(
    logged: Callable[[], list[tuple[str, str | None]]],
) -> None:
    watched = Watched(
        counted(5), counted(5 + ENOUGH), page(b"", 500), page(b"", 500), counted(5 + ENOUGH)
    )
    await watched.watch.look()
    serve_requests(watched.honour)
    await watched.watch.look()
    assert len(watched.words) == 1
    for _ in range(2):
        await watched.watch.look()
    assert watched.watch.states("interactive")["cluster"].verdict == "not_honoured"
    await watched.watch.look()
    assert [event for event, _ in logged()] == ["picker_metrics_unread", "picker_metrics_read"]
    assert watched.words == []


@pytest.mark.looptime
async def test_a_picker_that_begins_anew_is_not_taken_for_one_that_counts_nothing() -> None:
    watched = Watched(counted(500), counted(2), counted(2 + ENOUGH, priority=10))
    await watched.watch.look()
    serve_requests(watched.honour)
    await watched.watch.look()
    assert watched.watch.states("interactive")["cluster"].verdict == "unconfirmed"
    assert watched.words == []


@pytest.mark.looptime
async def test_one_silent_address_does_not_hold_up_another() -> None:
    watched = Watched()
    other = Honour()
    silent, good = ScriptedTransport([]), ScriptedTransport(counted(1))
    watch = HonourWatch(
        watched.loop,
        {"a": watched.honour, "b": other},
        intents=lambda: watched.intents,
        sources={"a": (silent, "/metrics"), "b": (good, "/metrics")},
        clock=asyncio.get_running_loop().time,
    )
    await watch.look()
    assert asyncio.get_running_loop().time() == pytest.approx(SCRAPE_TIMEOUT_S)
    assert silent.exchanges[0].cancelled_at_s is not None
    assert other._scrape[1] == pytest.approx(0.01)


# -- what is told --------------------------------------------------------------------------


def says(monkeypatch: pytest.MonkeyPatch, **verdicts: Verdict) -> None:
    """Every pool's verdicts, by objective."""
    monkeypatch.setattr(
        Honour,
        "state",
        lambda self, objective: HonourState(
            verdict=verdicts.get(objective, "unconfirmed"), why="so it seems"
        ),
    )


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (["unconfirmed", "honoured", "unconfirmed", "honoured"], []),
        (["not_honoured"] * 3, ["llm-d does not honour interactive in cluster: so it seems"]),
        (
            ["not_honoured", "honoured", "honoured"],
            [
                "llm-d does not honour interactive in cluster: so it seems",
                "llm-d honours interactive in cluster: so it seems",
            ],
        ),
        (
            ["not_honoured", "unconfirmed", "not_honoured"],
            [
                "llm-d does not honour interactive in cluster: so it seems",
                "it is no longer known whether llm-d honours interactive in cluster: so it seems",
                "llm-d does not honour interactive in cluster: so it seems",
            ],
        ),
    ],
)
async def test_changes_to_or_from_not_honoured_are_told(
    monkeypatch: pytest.MonkeyPatch, verdicts: Sequence[Verdict], told: list[str]
) -> None:
    watched = Watched()
    for verdict in verdicts:
        says(monkeypatch, interactive=verdict)
        await watched.watch.look()
    decisions = watched.loop.tick(0.0)
    assert [decision.words for decision in decisions] == told
    for decision in decisions:
        assert (decision.kind, decision.intent, decision.pool) == (
            "honour",
            "interactive",
            "cluster",
        )
    assert [decision.seq for decision in decisions] == list(range(1, len(told) + 1))


@pytest.mark.looptime
async def test_an_intent_is_judged_by_the_objective_that_it_names_to_llmd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched(chat=Intent(name="chat", llmd_objective="critical"))
    says(monkeypatch, critical="not_honoured")
    watched.watch.tell()
    (words,) = watched.words
    assert words.startswith("llm-d does not honour chat in cluster")
    assert watched.watch.states("nobody")["cluster"].verdict == "unconfirmed"


@pytest.mark.looptime
async def test_an_intent_that_is_gone_is_forgotten_and_told_anew_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched()
    says(monkeypatch, interactive="not_honoured")
    watched.watch.tell()
    kept = watched.intents
    watched.intents = {}
    watched.watch.tell()
    assert len(watched.words) == 1
    watched.intents = kept
    watched.watch.tell()
    assert len(watched.words) == 1


# -- a gateway in front of an llm-d --------------------------------------------------------

QUICK = Latency(
    prefill_overhead_s=0.001, prefill_time_std_dev_s=0.0, inter_token_latency_s=0.001,
    inter_token_latency_std_dev_s=0.0,
)  # fmt: skip
POLICIES = """
intents:
  - {name: interactive, match: {default: true}, priority: 10}
"""
MakeEdge = Callable[..., Awaitable[Edge]]


@pytest.fixture
async def llmd() -> AsyncIterator[tuple[FakeLlmd, str]]:
    """An llm-d with flow control that knows no objective, and where it is."""
    settings = LlmdSettings(
        models=(ServedModel(name="m", latency=QUICK),), epp=EppSettings(flow_control=True)
    )
    fake = FakeLlmd(settings)
    runner = web.AppRunner(make_app(fake), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield fake, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_an_objective_that_llmd_does_not_know_is_found_out_and_shown_everywhere(
    make_edge: MakeEdge, llmd: tuple[FakeLlmd, str]
) -> None:
    fake, url = llmd
    edge = await make_edge(
        f"pools: [{{id: cluster, engine: llmd, endpoint: '{url}', metrics: '{url}/metrics'}}]\n"
        "models: [{name: served, pool: cluster, upstream: m}]\n",
        policies=POLICIES,
        embedded=True,
    )
    watch, control = edge.gateway.honour_watch, edge.listener._control

    async def serves() -> None:
        for _ in range(ENOUGH + 1):
            assert (await edge.chat(max_tokens=1)).status == 200
        await watch.look()
        control.tick()

    async def shown() -> tuple[str, list[str]]:
        (intent,) = (await edge.ask("GET", "/v1/intents")).json["data"]
        (honour,) = intent["infrastructure"]
        assert honour["pool"] == "cluster"
        decisions = (await edge.ask("GET", "/v1/decisions")).json["data"]
        return honour["verdict"], [d["words"] for d in decisions if d["kind"] == "honour"]

    await serves()
    await serves()
    verdict, told = await shown()
    assert verdict == "not_honoured"
    assert len(told) == 1
    assert "InferenceObjective named 'interactive'" in told[0]
    assert await edge.counted("setpoint_decisions_total", kind="honour") == 1
    assert b'setpoint_intent_honoured{intent="interactive",pool="cluster"} 0.0' in (
        edge.gateway.metrics.exposition()
    )

    fake.reconfigure(b'{"epp": {"objectives": {"interactive": 10}}}')
    await serves()
    await serves()
    verdict, told = await shown()
    assert verdict == "honoured"
    assert told[1:] == [
        "llm-d honours interactive in cluster: llm-d counts its requests under priority 10"
    ]
    assert await edge.counted("setpoint_intent_honoured", pool="cluster") == 1


@pytest.mark.parametrize(
    ("metrics", "path"),
    [("/metrics", "/metrics"), ("", "/metrics"), ("/", "/metrics"), ("/epp/m/", "/epp/m")],
)
async def test_the_metrics_are_asked_for_where_the_configuration_says(
    make_edge: MakeEdge,
    llmd: tuple[FakeLlmd, str],
    monkeypatch: pytest.MonkeyPatch,
    metrics: str,
    path: str,
) -> None:
    _, url = llmd
    edge = await make_edge(
        f"pools: [{{id: cluster, engine: llmd, endpoint: '{url}', metrics: '{url}{metrics}'}}]",
        embedded=True,
    )
    asked: list[str] = []
    fetch = honour_watch.fetch

    async def noting(transport: object, request: object, **bounds: object) -> object:
        asked.append(request.path)
        return await fetch(transport, request, **bounds)

    monkeypatch.setattr(honour_watch, "fetch", noting)
    await edge.gateway.honour_watch.look()
    assert asked == [path]
