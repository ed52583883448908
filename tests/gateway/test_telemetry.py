"""The way to a collector: bounded, off the hot path, and honest about what is lost."""

import asyncio
import logging
import threading

import pytest

from contracts.catalog import Catalog, ModelCard
from contracts.decision import Decision, Shaping
from contracts.errors import UpstreamFault
from contracts.inference import Constraints, InferRequest, RequestFacts
from gateway import telemetry as module
from gateway.metrics import Metrics
from gateway.progress import Progress
from gateway.telemetry import METRICS_S, RETRY_S, TRIES, Finished, Telemetry, is_installed
from gateway.trace_context import TraceContext
from tests.fakes.edge import eventually
from tests.support.exposition import Exposition

pytestmark = pytest.mark.req("RUN-10")
CATALOG = Catalog(models={"m": ModelCard(name="m", pool="p", upstream="m")}, routes={"r": ("m",)})


class Sent:
    """An exporter that remembers, and refuses for the `reason` that a test says."""

    def __init__(self) -> None:
        self.reason = ""
        self.taken: list[Finished] = []
        self.traces: list[TraceContext] = []
        self.batches: list[list[object]] = []
        self.metrics = 0
        self.hangs: threading.Event | None = None
        self.closed = 0

    def take(self, finished: Finished, trace: TraceContext) -> tuple[object, ...]:
        if finished.request_id == "bug":
            raise ZeroDivisionError
        self.taken.append(finished)
        self.traces.append(trace)
        return (finished.request_id,) if trace.sampled else ()

    def send_spans(self, spans: list[object]) -> str:
        if self.hangs is not None:
            self.hangs.wait()
        self.batches.append(spans)
        return self.reason

    def send_metrics(self) -> str:
        self.metrics += 1
        return self.reason

    def close(self) -> None:
        self.closed += 1
        if self.hangs is not None:
            self.hangs.set()


class Scene:
    """Telemetry by hand: time is a number, and a round is taken when a test says so."""

    def __init__(self, *, share: float = 1.0, passes_on: bool = False) -> None:
        self.now_s = 0.0
        self.sent = Sent()
        self.metrics = Metrics("test")
        self.telemetry = Telemetry(
            self.sent,
            metrics=self.metrics,
            share=share,
            passes_on=passes_on,
            clock=lambda: self.now_s,
        )

    def note(self, request_id: str, progress: Progress | None = None, **facts: object) -> None:
        asked = RequestFacts(**{"operation": "chat", "model": "m", **facts})  # type: ignore[arg-type]  # as a test says
        self.telemetry.note(
            InferRequest(request_id=request_id, operation="chat", members={}, facts=asked),
            Decision(
                intent="i", shaping=Shaping(model="m"), models=("m",), constraints=Constraints()
            ),
            progress or Progress(accepted_s=0.0),
            CATALOG,
            200,
            None,
            1.0,
        )

    def round(self) -> None:
        self.telemetry._round()

    def counted(self, name: str, **labels: str) -> float:
        shown = Exposition(self.metrics.exposition().decode())
        return shown.total(f"setpoint_telemetry_{name}", **labels)


def test_what_has_finished_is_sent_in_batches_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    scene = Scene()
    for number in range(5):
        scene.note(f"r{number}")
    assert scene.sent.taken == []  # nothing but a value in a queue, until a round is taken
    scene.round()
    assert scene.sent.batches == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert scene.counted("traces_sent_total") == 5
    assert scene.counted("up") == 1


@pytest.mark.req("SEC-5")
def test_a_full_buffer_loses_the_newcomer_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER", 3)
    scene = Scene()
    for number in range(5):
        scene.note(f"r{number}")
    assert scene.counted("traces_dropped_total", reason="buffer_full") == 2
    scene.round()
    assert [finished.request_id for finished in scene.sent.taken] == ["r0", "r1", "r2"]


@pytest.mark.req("SEC-5")
def test_spans_that_nobody_takes_are_bounded_and_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BUFFER", 3)
    monkeypatch.setattr(module, "BATCH", 1)
    scene = Scene()
    scene.sent.reason = "away"
    for number in range(9):
        scene.note(f"r{number}")
        scene.round()
    assert len(scene.sent.taken) == 9
    # one is in the batch that is being tried, three wait
    assert scene.counted("traces_dropped_total", reason="buffer_full") == 5


def test_a_collector_that_is_away_is_asked_again_and_in_the_end_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene()
    scene.sent.reason = "away"
    scene.note("r0")
    for _ in range(TRIES):
        scene.round()
        scene.round()  # too early
        scene.now_s += RETRY_S
    assert scene.sent.batches == [["r0"]] * TRIES
    assert scene.counted("traces_dropped_total", reason="not_taken") == 1
    assert scene.counted("up") == 0
    scene.sent.reason = ""
    scene.note("r1")
    scene.round()
    assert scene.sent.batches[-1] == ["r1"]
    assert (scene.counted("traces_sent_total"), scene.counted("up")) == (1, 1)
    told = [(r.getMessage(), r.fields["reason"]) for r in caplog.records]  # type: ignore[attr-defined]  # an event of ours
    assert told == [("telemetry_not_sent", "away"), ("telemetry_sent_again", None)]


def test_a_batch_that_comes_through_at_the_second_try_is_not_lost() -> None:
    scene = Scene()
    scene.sent.reason = "away"
    scene.note("r0")
    scene.round()
    scene.sent.reason, scene.now_s = "", RETRY_S
    scene.note("r1")
    scene.round()
    assert scene.sent.batches == [["r0"], ["r0", "r1"]]
    assert scene.counted("traces_sent_total") == 2


def test_metrics_go_out_in_their_own_rhythm_whatever_becomes_of_spans() -> None:
    scene = Scene(share=0.0)
    for _ in range(3):
        scene.note("r")
        scene.round()
    assert (scene.sent.metrics, scene.sent.batches, len(scene.sent.taken)) == (0, [], 3)
    scene.now_s = METRICS_S
    scene.round()
    scene.round()
    assert scene.sent.metrics == 1


def test_one_request_that_cannot_be_told_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    for name in ("r0", "bug", "r1"):
        scene.note(name)
    scene.round()
    assert scene.sent.batches == [["r0", "r1"]]
    assert [record.getMessage() for record in caplog.records] == ["telemetry_failed"]


def test_what_waits_holds_on_to_no_stack_and_no_body() -> None:
    scene = Scene()
    broken = Progress(accepted_s=0.0, fault=UpstreamFault("gone", fault="unavailable"))
    scene.note("r0", broken, headers={"x-big": "x" * 10_000}, max_tokens=3)
    scene.note("r1", model="r")
    scene.note("r2", model="invented")
    scene.round()
    first, *_ = scene.sent.taken
    assert first.progress.fault is None
    assert broken.fault is not None
    assert not {"facts", "infer", "members", "headers"} & set(Finished.__struct_fields__)
    assert [finished.known_model for finished in scene.sent.taken] == [True, True, False]


def test_a_trace_is_begun_before_the_request_only_if_backends_hear_of_it() -> None:
    assert Scene().telemetry.begin({}) is None
    scene = Scene(passes_on=True)
    trace = scene.telemetry.begin({})
    assert isinstance(trace, TraceContext)
    scene.note("r", Progress(accepted_s=0.0, trace=trace))
    scene.round()
    assert scene.sent.traces == [trace]


def test_of_a_client_only_what_it_says_of_the_trace_is_kept() -> None:
    scene = Scene(share=0.0)
    came = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "a=b"}
    scene.note("r0", headers={**came, "cookie": "no"})
    scene.note("r1", headers={"tracestate": "a=b"})
    scene.round()
    assert [finished.came_with for finished in scene.sent.taken] == [came, {}]
    assert [trace.state for trace in scene.sent.traces] == ["a=b", ""]
    assert scene.sent.batches == [["r0"]]


async def test_a_stop_sends_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.sent.reason = "away"
    scene.note("r0")
    scene.round()
    scene.sent.reason = ""
    await scene.telemetry.aclose()  # without waiting for the moment of the next try
    assert scene.sent.batches == [["r0"]] * 2
    assert (scene.sent.metrics, scene.sent.closed) == (1, 1)
    assert scene.counted("traces_dropped_total") == 0


async def test_a_stop_does_not_wait_for_ever_and_says_what_it_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.01)
    scene = Scene()
    scene.sent.hangs = threading.Event()
    scene.note("r0")
    await scene.telemetry.aclose()
    assert scene.sent.closed == 1
    assert scene.counted("traces_dropped_total", reason="stopped") == 1


async def test_it_runs_by_itself_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPORT_S", 0.001)
    scene = Scene()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scene.telemetry.run())
        for name in ("r0", "r1"):
            scene.note(name)
            await eventually(lambda: [name] in scene.sent.batches)  # noqa: B023 (awaited here)
        task.cancel()


def test_the_extra_is_seen_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed()
    monkeypatch.setitem(module.__dict__, "find_spec", lambda name: None)
    assert not is_installed()
