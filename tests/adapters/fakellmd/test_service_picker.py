"""The fake in process with its endpoint picker: what a client of llm-d sees of it, on a virtual clock."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import uvloop

from adapters import llmd
from adapters.dialect import WireRequest
from adapters.fakellmd import epp_headers
from adapters.fakellmd.epp_settings import EppSettings, Saturation
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import LlmdSettings
from tests.support.exposition import Exposition

pytestmark = [pytest.mark.req("INT-9"), pytest.mark.looptime]
Build = Callable[..., LlmdSettings]
Make = Callable[..., WireRequest]
Ask = Callable[..., Any]
Start = Callable[..., Any]
OBJECTIVES = {"critical": 10, "batch": -1}
ONE_AT_ONCE = Saturation(detector="concurrency", max_concurrency=1)
WENT, WAITED = "x-went-into-resp-headers", "x-llm-d-flow-queue-duration-ms"


@pytest.fixture
def fake_of(exact: Build) -> Callable[..., FakeLlmd]:
    """A fake with one model; `epp` has the picker's settings, the rest are the fake's."""

    def build(epp: dict[str, Any] | None = None, **changes: Any) -> FakeLlmd:
        settings = EppSettings(**({"objectives": OBJECTIVES} | (epp or {})))
        return FakeLlmd(exact(epp=settings, **changes))

    return build


@pytest.fixture
def start(make_post: Make, recorder: Any) -> Start:
    """Begin a completion of `tokens` tokens; other keywords are headers."""

    def send(fake: FakeLlmd, tokens: int = 3, *, stream: bool = True, **headers: str) -> Any:
        body = {"model": "m", "prompt": "x", "max_tokens": tokens, "stream": stream}
        told = {"x_request_id": "r"} | headers
        sink = recorder()
        sink.exchange = fake.start(make_post("/v1/completions", body, **told), sink)
        return sink

    return send


Fake = Callable[..., FakeLlmd]


# -- headers of answers -----------------------------------------------------------------


async def test_by_default_answers_bear_the_pickers_mark_and_nothing_of_a_queue(
    fake_of: Fake, chat: Make, make_post: Make, ask: Ask
) -> None:
    fake = fake_of()
    embedding = make_post("/v1/embeddings", {"model": "m", "input": "x"})
    wrong = chat(max_tokens=0)
    for request in (chat(max_tokens=2), chat(max_tokens=2, stream=True), embedding, wrong):
        got = await ask(fake, request)
        assert got.head.headers[WENT] == "true"
        assert WAITED not in got.head.headers
    assert WENT not in (await ask(fake, "/v1/models")).head.headers


async def test_main_tells_whole_milliseconds_of_waiting_and_zero_for_none(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "profile": "main", "saturation": ONE_AT_ONCE})
    first, second = start(fake, 3), start(fake, 3)
    whole = start(fake, 3, stream=False)
    for sink in (first, second, whole):
        await sink.over.wait()
    # Each takes 0.5 s to its first token and two gaps of 0.0625 s.
    waited = [sink.head.headers[WAITED] for sink in (first, second, whole)]
    assert waited == ["0", "625", "1250"]
    assert second.head.headers["x-inference-pod"] == "m-0"


async def test_an_engines_refusal_after_the_dispatch_is_the_engines(
    fake_of: Fake, chat: Make, ask: Ask, start: Start
) -> None:
    epp = {"flow_control": True, "profile": "main"}
    fake = fake_of(epp, max_num_seqs=1, max_waiting_queue_length=0)
    first = start(fake)
    got = await ask(fake, chat())
    assert got.status == 429
    assert got.json["error"]["type"] == "RateLimitError"
    assert (got.head.headers[WENT], got.head.headers[WAITED]) == ("true", "0")
    await first.over.wait()
    text = (await ask(fake, "/metrics")).body.decode()
    seen = Exposition(text)
    assert seen.total("llm_d_epp_request_error_total", error_code="ModelServerError") == 1
    assert seen.total("llm_d_epp_request_total") == 2


# -- who is sheddable -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "status"),
    [("batch", 429), ("critical", 200), ("", 200), ("typo", 200), ("BATCH", 200)],
)
async def test_a_priority_below_zero_is_sheddable_and_a_typo_is_not(
    fake_of: Fake, start: Start, objective: str, status: int
) -> None:
    fake = fake_of({"scrape_interval_s": 0.0}, max_num_seqs=1)
    for _ in range(6):
        start(fake)
    got = start(fake, x_gateway_inference_objective=objective)
    await got.over.wait()
    assert got.status == status


async def test_a_pool_that_is_scraped_sheds_by_what_the_last_scrape_showed(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"scrape_interval_s": 0.05}, max_num_seqs=1)
    for _ in range(6):
        start(fake)
    early = start(fake, x_llm_d_inference_objective="batch")
    await asyncio.sleep(0.06)
    late = start(fake, x_llm_d_inference_objective="batch")
    for sink in (early, late):
        await sink.over.wait()
    assert (early.status, late.status) == (200, 429)


# -- the queue --------------------------------------------------------------------------


async def test_waiters_go_by_priority_and_each_gets_its_whole_answer(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    order = ["", "batch", "critical", "", "critical"]
    sinks = [start(fake, 2, x_llm_d_inference_objective=name) for name in order]
    for sink in sinks:
        await sink.over.wait()
    assert [sink.status for sink in sinks] == [200] * 5
    ends = [sink.times[-1] for sink in sinks]
    assert sorted(range(5), key=ends.__getitem__) == [0, 2, 4, 3, 1]
    assert fake._timer is None


async def test_a_client_that_leaves_the_queue_never_takes_a_place(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    first, leaver, heir = (start(fake, 2) for _ in range(3))
    await asyncio.sleep(0.1)
    leaver.exchange.cancel()
    leaver.exchange.cancel()
    await first.over.wait()
    begun_s = asyncio.get_running_loop().time()
    await heir.over.wait()
    assert heir.times[0] - begun_s == pytest.approx(0.5, abs=0.003)
    assert leaver.calls == []
    assert not fake._exchanges
    assert not fake._answers


async def test_a_place_that_a_client_gives_up_goes_to_who_waits_at_once(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    leaver, heir = start(fake, 900), start(fake, 1)
    await asyncio.sleep(0.75)
    leaver.exchange.cancel()
    await heir.over.wait()
    assert heir.times[0] == pytest.approx(asyncio.get_running_loop().time())
    assert heir.times[0] == pytest.approx(1.25, abs=0.003)


async def test_a_sink_that_cancels_another_call_in_the_middle_of_a_shutdown_is_no_surprise(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    start(fake)
    first, second = start(fake), start(fake)
    await asyncio.sleep(0.1)
    first.on_end = second.exchange.cancel
    await fake.aclose()
    assert first.status == 503
    assert second.calls == []


async def test_a_header_may_ask_for_an_error_whatever_waits(
    fake_of: Fake, make_post: Make, ask: Ask, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    start(fake)
    got = await ask(fake, make_post("/v1/completions", {}, X_Return_Error="503"))
    assert (got.status, got.json["error"]["code"]) == (503, 503)


async def test_a_ttl_header_shortens_the_wait_in_main(fake_of: Fake, start: Start) -> None:
    for profile, status in (("main", 429), ("v0.10", 200)):
        fake = fake_of({"flow_control": True, "profile": profile, "saturation": ONE_AT_ONCE})
        first = start(fake, 40)  # about 3 s
        waiter = start(fake, 2, x_llm_d_inference_ttl="850ms")
        await waiter.over.wait()
        await first.over.wait()
        assert waiter.status == status


async def test_choices_of_one_answer_are_one_call(fake_of: Fake, chat: Make, ask: Ask) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    got = await ask(fake, chat(n=3, max_tokens=2))
    assert len(got.json["choices"]) == 3
    seen = Exposition((await ask(fake, "/metrics")).body.decode())
    assert seen.total("llm_d_epp_request_total") == 1
    assert seen.total("llm_d_epp_inflight_requests") == 0


# -- scrapes that lag -------------------------------------------------------------------


async def longest_queue(fake: FakeLlmd, start: Start) -> int:
    """100 requests in 0.3 s for an engine that takes five; returns how many came to wait in it."""
    longest = 0
    sinks = []
    for _ in range(100):
        sinks.append(start(fake, 9))
        await asyncio.sleep(0.003)
        (engine,) = fake._fleet.engines["m"]
        longest = max(longest, engine.waiting)
    for sink in sinks:
        await sink.over.wait()
    return longest


async def test_scrapes_that_lag_let_a_queue_build_up_behind_the_gate(
    fake_of: Fake, start: Start
) -> None:
    """Over-dispatch (llm-d-router #2066): with the metrics of now the gate holds at its threshold of 5;
    with those of half a second ago it lets through whatever comes before the next scrape."""
    longest = {}
    for lag_s in (0.0, 0.05, 0.5):
        epp = {"flow_control": True, "scrape_interval_s": lag_s}
        fake = fake_of(epp, max_waiting_queue_length=None)
        longest[lag_s] = await longest_queue(fake, start)
    assert longest[0.0] == 5
    assert 5 < longest[0.05] < 5 + 0.05 / 0.003
    assert longest[0.5] > 50


async def test_metrics_that_nobody_can_scrape_shut_the_gate(fake_of: Fake, start: Start) -> None:
    fake = fake_of({"flow_control": True})
    fake.reconfigure(b'{"epp": {"scrape_paused": true}}')
    early = start(fake)
    await asyncio.sleep(1.0)
    late = start(fake)
    await asyncio.sleep(5.0)
    assert (early.calls, late.calls) == (["head", "data", "end"], [])
    fake.reconfigure(b'{"epp": {"scrape_paused": false}}')
    await late.over.wait()
    assert late.status == 200


async def test_the_end_of_one_choice_makes_room_though_its_answer_goes_on(
    fake_of: Fake, chat: Make, start: Start, recorder: Any
) -> None:
    epp = {"flow_control": True, "scrape_interval_s": 0.0}
    fake = fake_of(epp, max_num_seqs=2, natural_output_tokens=(24, 60))
    uneven = recorder()
    fake.start(chat(n=2, stream=True), uneven)
    sinks = [start(fake) for _ in range(6)]
    await asyncio.sleep(0.01)
    (engine,), flow = fake._fleet.engines["m"], fake._pickers.pools["m"].flow
    assert flow is not None
    seen = [(engine.waiting, flow.waiting)]
    while flow.waiting:
        await asyncio.sleep(0.002)
        seen.append((engine.waiting, flow.waiting))
    assert set(seen[:-1]) == {(5, 1)}
    assert not uneven.over.is_set()
    for sink in (uneven, *sinks):
        await sink.over.wait()


# -- while it runs ----------------------------------------------------------------------


async def test_pods_are_lost_and_found_through_the_configuration(
    fake_of: Fake, make_post: Make, ask: Ask, start: Start, chat: Make
) -> None:
    fake = fake_of(replicas=2)
    sinks = [start(fake, 50), start(fake, 50)]
    await asyncio.sleep(0.6)

    async def configure(**settings: Any) -> None:
        assert (await ask(fake, make_post("/admin/config", settings))).status == 200

    await configure(pods_down={"m": [0]})
    await sinks[0].over.wait()
    assert sinks[0].events[-2]["error"]["code"] == 500
    seen = Exposition((await ask(fake, "/metrics")).body.decode())
    assert seen.total("llm_d_epp_ready_endpoints") == 1
    assert (await ask(fake, chat(max_tokens=1))).head.headers["x-inference-pod"] == "m-1"
    await configure(pods_down={"m": [0, 1]})
    await sinks[1].over.wait()
    got = await ask(fake, chat(max_tokens=1))
    assert (got.status, got.head.headers["x-llm-d-request-dropped-reason"]) == (
        503,
        "rejected-no-endpoints",
    )
    await configure(pods_down={"m": []})
    assert (await ask(fake, chat(max_tokens=1))).head.headers["x-inference-pod"] == "m-0"


async def test_who_waits_for_a_pod_is_served_when_one_comes_back(
    fake_of: Fake, start: Start
) -> None:
    fake = fake_of({"flow_control": True})
    fake.boot()
    fake.fail("m", 0)
    waiter = start(fake, 2)
    await asyncio.sleep(5.0)
    assert waiter.calls == []
    fake.recover("m", 0)
    await waiter.over.wait()
    assert waiter.status == 200
    assert waiter.times[0] == pytest.approx(5.5, abs=0.1)


async def test_drift_and_pickers_change_together_or_not_at_all(
    fake_of: Fake, make_post: Make, ask: Ask, chat: Make
) -> None:
    fake = fake_of()
    before = (await ask(fake, "/admin/config")).json
    bad = {"drift": [{"at_s": 0, "inter_token_latency_s": 1.0}], "epp": {"profile": "v1"}}
    assert (await ask(fake, make_post("/admin/config", bad))).status == 400
    assert (await ask(fake, "/admin/config")).json == before
    good = bad | {"epp": {"profile": "main", "flow_control": True}}
    assert (await ask(fake, make_post("/admin/config", good))).status == 200
    begun_s = asyncio.get_running_loop().time()
    got = await ask(fake, chat(max_tokens=3, stream=True))
    assert got.head.headers[WAITED] == "0"
    assert got.times[-1] - begun_s == pytest.approx(2.5)


async def test_the_epps_metrics_stand_beside_the_engines(
    fake_of: Fake, chat: Make, ask: Ask, start: Start
) -> None:
    fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
    tenant = {"x_llm_d_inference_fairness_id": "t"}
    running = start(fake, 30, **tenant)
    waiting = start(fake, 3, x_llm_d_inference_objective="batch", **tenant)
    await asyncio.sleep(1.0)
    seen = Exposition((await ask(fake, "/metrics")).body.decode())
    e = "llm_d_epp_"
    assert seen.total(f"{e}request_running", fairness_id="t", priority="0") == 1
    assert seen.total(f"{e}inflight_requests", endpoint_name="m-0") == 1
    assert seen.total(f"{e}flow_control_queue_size", fairness_id="t", priority="-1") == 1
    assert seen.total(f"{e}flow_control_pool_saturation", inference_pool="m") == 2.0
    assert seen.total("vllm:num_requests_running") == 1
    await waiting.over.wait()
    assert running.status == waiting.status == 200
    seen = Exposition((await ask(fake, "/metrics")).body.decode())
    ttft = seen.total(f"{e}request_ttft_seconds_sum", streaming="true", priority="0")
    assert ttft == pytest.approx(0.5)
    whole = seen.total(f"{e}request_duration_seconds_sum", priority="0")
    assert whole == pytest.approx(0.5 + 29 * 0.0625)
    late = seen.total(f"{e}request_ttft_seconds_sum", streaming="true", priority="-1")
    assert late == pytest.approx(whole + 0.5, abs=0.002)
    outcomes = f"{e}flow_control_requests_total"
    assert seen.total(outcomes, outcome="Dispatched", inference_pool="m") == 2
    assert seen.total(f"{e}flow_control_queue_size") == 0


EPP_NAMES = (
    *("request_total", "request_error_total", "request_duration_seconds", "request_running"),
    *("request_ttft_seconds", "ready_endpoints", "per_endpoint_queue_size", "inflight_requests"),
    *("inflight_tokens", "average_kv_cache_utilization", "std_dev_kv_cache_utilization"),
    *("average_queue_size", "std_dev_queue_size", "average_running_requests"),
    "std_dev_running_requests",
)
FLOW_NAMES = (
    *("request_queue_duration_seconds", "requests_total", "queue_size", "queue_bytes"),
    *("pool_saturation", "stale_endpoints", "capacity_utilization_requests"),
    *("capacity_utilization_bytes", "revocations_issued_total"),
)


@pytest.mark.parametrize("flow_control", [True, False])
async def test_every_family_has_llmds_name_and_the_queues_only_with_flow_control(
    fake_of: Fake, start: Start, ask: Ask, flow_control: bool
) -> None:
    fake = fake_of({"flow_control": flow_control, "saturation": ONE_AT_ONCE})
    start(fake, 9)
    start(fake, 9, x_llm_d_inference_objective="batch")
    start(fake, 9, prefer="if-available")
    await asyncio.sleep(0.55)
    text = (await ask(fake, "/metrics")).body.decode()
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    for name in EPP_NAMES:
        assert f"llm_d_epp_{name}" in typed
    queues = {name for name in typed if "flow_control" in name}
    assert set(FLOW_NAMES) <= {name.removeprefix("llm_d_epp_flow_control_") for name in queues} or (
        not flow_control and not queues
    )


async def test_nothing_is_armed_while_nobody_asks(fake_of: Fake, start: Start) -> None:
    fake = fake_of({"flow_control": True, "objectives": {"batch": -1}})
    assert fake._timer is None
    await start(fake).over.wait()
    assert fake._timer is None


def test_a_burst_through_the_queue_on_uvloop_is_answered(fake_of: Fake, start: Start) -> None:
    async def burst() -> list[Any]:
        fake = fake_of({"flow_control": True, "saturation": ONE_AT_ONCE})
        quick = {"time_to_first_token_s": 0.001, "inter_token_latency_s": 0.001}
        fake.reconfigure(msgspec.json.encode({"latency": quick}))
        sinks = [start(fake, 2) for _ in range(20)]
        async with asyncio.timeout(10):
            for sink in sinks:
                await sink.over.wait()
        return sinks

    assert {sink.status for sink in uvloop.run(burst())} == {200}


def test_a_request_as_the_gateway_sends_it_is_understood() -> None:
    """The names are those of `adapters.llmd`, which writes them."""
    told = {
        llmd.OBJECTIVE: "critical",
        llmd.FAIRNESS: "t",
        llmd.SLO_TTFT_MS: "800",
        llmd.SLO_TPOT_MS: "50",
    }
    wants = epp_headers.read(told, EppSettings())
    assert (wants.objective, wants.fairness_id) == ("critical", "t")
    assert (wants.ttft_deadline_ms, wants.tpot_slo_s) == (800, 0.05)
    assert epp_headers.stripped(told) == {}
    assert epp_headers.DROPPED_REASON == llmd.DROPPED
