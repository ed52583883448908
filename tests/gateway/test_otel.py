"""What a collector gets to see of a request: spans and metrics by the names of the conventions."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

from contracts.events import Usage
from contracts.inference import Target
from gateway import otel
from gateway.otel import OtelExporter
from gateway.otlp import Sender
from gateway.progress import AttemptRecord
from gateway.telemetry import Finished
from gateway.trace_context import TraceContext
from tests.fakes.closed import DECISION, attempt, progress
from tests.fakes.edge import RULES, Answer, Edge, chat_body
from tests.fakes.otlp_collector import OtlpCollector, plain
from tests.fakes.scripted import chunk
from tests.fakes.scripted_engine import ScriptedEngine, refuses, says, streams
from tests.gateway.conftest import EdgeMaker

pytestmark = pytest.mark.req("RUN-10")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = f"00-{TRACE}-{PARENT}-01"
SECRET = "sk-collector-0123456789"


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    collector = await OtlpCollector().start()
    yield collector
    await collector.aclose()


REFUSING = RULES.replace("REJECT", "")


async def refused(edge: Edge, model: str) -> Answer:
    """Refused by a rule, before anybody asked whether there is such a model."""
    body = chat_body(model=model)
    return await edge.ask("POST", "/v1/chat/completions", body, x_setpoint_intent="batch")


def telemetry(collector: OtlpCollector, more: str = "") -> str:
    return f"telemetry: {{otlp: '{collector.url}/', {more}}}"


async def flushed(edge: Edge) -> None:
    assert edge.gateway.telemetry is not None
    await edge.gateway.telemetry.aclose()


def lasted_s(span: object) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9  # type: ignore[attr-defined]  # protobuf has no types


async def test_a_request_is_a_span_with_one_below_it_for_each_attempt(
    make_edge: EdgeMaker, engine: ScriptedEngine, collector: OtlpCollector
) -> None:
    engine.plays(refuses(500, b'{"error":{"message":"no","code":"of_its_own"}}'), streams())
    edge = await make_edge(telemetry(collector), pool="retries: 1, max_inflight: 1")
    body = chat_body(max_tokens=9)
    answer = await edge.ask(
        "POST", "/v1/chat/completions", body, traceparent=CLIENT, x_request_id="r-1"
    )
    assert answer.status == 200
    await flushed(edge)

    (own,) = collector.named("chat served")
    first, second = collector.named("chat real")
    assert own.trace_id.hex() == TRACE
    assert own.parent_span_id.hex() == PARENT
    assert {first.trace_id, second.trace_id} == {own.trace_id}
    assert {first.parent_span_id, second.parent_span_id} == {own.span_id}
    assert (own.kind, first.kind) == (own.SPAN_KIND_SERVER, own.SPAN_KIND_CLIENT)
    assert (own.status.code, first.status.code, second.status.code) == (0, 2, 0)

    told = plain(own.attributes)
    assert 0 < told.pop("gen_ai.response.time_to_first_chunk") <= lasted_s(own)
    assert 0 <= told.pop("setpoint.queue.duration") < lasted_s(own)
    assert told.pop("setpoint.decision") == answer.headers["x-setpoint-decision"]
    assert told.pop("setpoint.policy")
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "served",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stream": False,
        "gen_ai.response.model": "real",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "http.response.status_code": 200,
        "setpoint.request_id": "r-1",
        "setpoint.task": False,
        "setpoint.intent": "interactive",
        "setpoint.model": "served",
        "setpoint.pool": "main",
        "setpoint.attempts": 2,
    }
    failed = plain(first.attributes)
    assert (failed["setpoint.attempt"], failed["http.response.status_code"]) == (1, 500)
    assert failed["error.type"] == first.status.message == "of_its_own"
    assert plain(second.attributes)["gen_ai.usage.output_tokens"] == 2
    assert own.start_time_unix_nano <= first.start_time_unix_nano <= first.end_time_unix_nano
    assert first.end_time_unix_nano <= second.start_time_unix_nano
    assert second.end_time_unix_nano <= own.end_time_unix_nano
    assert collector.resource["service.name"] == "setpoint"


async def test_the_genai_metrics_of_a_request_and_of_its_attempts(
    make_edge: EdgeMaker, engine: ScriptedEngine, collector: OtlpCollector
) -> None:
    engine.plays(refuses(500, b'{"error":{"message":"no","code":"of_its_own"}}'), streams())
    edge = await make_edge(telemetry(collector), policies=REFUSING, pool="retries: 1")
    assert (await edge.chat(stream=True)).status == 200
    assert (await refused(edge, "invented")).status == 429
    await flushed(edge)
    point = collector.point
    served = {"gen_ai__request__model": "served", "gen_ai__response__model": "real"}
    for name in (
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
    ):
        assert point(name, setpoint__intent="interactive", **served).count == 1
    assert point("gen_ai.client.operation.duration", error__type="other").count == 1
    assert point("gen_ai.client.token.usage", gen_ai__token__type="input").sum == 3
    assert point("gen_ai.client.token.usage", gen_ai__token__type="output").sum == 2
    unknown = point("gen_ai.server.request.duration", gen_ai__request__model="unknown")
    assert unknown.count == 1
    assert "invented" not in repr([told for _, told, _ in collector.points])


async def test_a_stream_that_breaks_is_an_error_and_a_refusal_is_none(
    make_edge: EdgeMaker, engine: ScriptedEngine, collector: OtlpCollector
) -> None:
    engine.plays(says(chunk({"content": "Hel"}), "text/event-stream"))
    edge = await make_edge(telemetry(collector), policies=REFUSING)
    await edge.chat(stream=True)
    await refused(edge, "invented")
    await flushed(edge)
    (broken,) = collector.named("chat served")
    assert broken.status.code == broken.status.STATUS_CODE_ERROR
    assert plain(broken.attributes)["error.type"] == broken.status.message
    (declined,) = collector.named("chat invented")
    assert declined.status.code == declined.status.STATUS_CODE_UNSET
    told = plain(declined.attributes)
    assert (told["error.type"], told["setpoint.attempts"]) == ("rejected_by_policy", 0)


@pytest.mark.parametrize("passes_on", [True, False])
async def test_backends_hear_of_the_trace_only_if_the_operator_says_so(
    make_edge: EdgeMaker, engine: ScriptedEngine, collector: OtlpCollector, passes_on: bool
) -> None:
    engine.plays(refuses(500, b"{}"), streams())
    more = f"traceparent: {str(passes_on).lower()}, sample: 0"
    edge = await make_edge(telemetry(collector, more), pool="retries: 1")
    await edge.ask(
        "POST", "/v1/chat/completions", chat_body(), traceparent=CLIENT, tracestate="a=b"
    )
    await edge.chat()
    await flushed(edge)
    heard = [call.headers.get("traceparent") for call in engine.asked]
    if not passes_on:
        assert heard == [None] * 3
        return
    sent = [span.span_id.hex() for span in collector.named("chat real")]
    assert heard[:2] == [f"00-{TRACE}-{span_id}-01" for span_id in sent]
    assert len(set(sent)) == 2
    assert engine.asked[0].headers["tracestate"] == "a=b"
    assert re.fullmatch(f"00-(?!{TRACE})[0-9a-f]{{32}}-[0-9a-f]{{16}}-00", heard[2] or "")


async def test_a_trace_that_is_not_kept_is_measured_all_the_same(
    make_edge: EdgeMaker, collector: OtlpCollector
) -> None:
    edge = await make_edge(telemetry(collector, "sample: 0"))
    await edge.chat()
    await flushed(edge)
    assert collector.spans == []
    assert collector.point("gen_ai.server.request.duration").count == 1


@pytest.mark.req("SEC-3")
async def test_no_address_no_text_and_no_secret_is_told(
    make_edge: EdgeMaker, engine: ScriptedEngine, collector: OtlpCollector
) -> None:
    edge = await make_edge(
        telemetry(collector, f"headers: {{authorization: 'Bearer {SECRET}'}}"),
        policies=REFUSING,
        pool=f"retries: 0, api_key: {SECRET}x",
    )
    engine.plays(streams(["an answer of nobody's business"]))
    await edge.chat(messages=[{"role": "user", "content": "a prompt of nobody's business"}])
    await refused(edge, f"{SECRET}x")
    await edge.ask("POST", "/v1/chat/completions", chat_body(), x_request_id=f"id-{SECRET}x")
    await flushed(edge)
    assert {headers["Authorization"] for _, headers in collector.requests} == {f"Bearer {SECRET}"}
    said = repr(collector.spans) + repr(collector.points) + repr(collector.resource)
    assert "business" not in said
    assert SECRET not in said
    assert "127.0.0.1" not in said
    assert engine.url.rpartition(":")[2] not in said


class Kept:
    """Sends nothing."""

    def send_spans(self, spans: object) -> str:
        return ""

    send_metrics = send_spans

    def close(self) -> None:
        pass


def spans_of(*attempts: AttemptRecord, **members: Any) -> list[ReadableSpan]:
    """Those of one request."""
    exporter = OtelExporter(
        cast("Sender", Kept()), version="1", hosts={"openai": "api.openai.com"}, redact=str
    )
    fields: dict[str, Any] = {
        "request_id": "r",
        "operation": "chat",
        "model": "assistant",
        "known_model": True,
        "stream": True,
        "task": False,
        "max_tokens": None,
        "caller": "",
        "trace": None,
        "came_with": {},
        "decision": DECISION,
        "progress": progress(attempts=list(attempts)),
        "status": 200,
        "error_code": None,
        "ended_s": 103.0,
        "wall_s": 1_800_000_003.0,
    }
    spans = exporter.take(Finished(**fields | members), TraceContext(trace_id=5, span_id=6))
    return cast("list[ReadableSpan]", list(spans))


def test_only_a_providers_public_address_is_told() -> None:
    hosted = Target(model="m", pool="openai", upstream="gpt-5")
    _, own, theirs = spans_of(attempt(), attempt(target=hosted, engine="gemini"))
    assert "server.address" not in (own.attributes or {})
    assert (theirs.attributes or {})["server.address"] == "api.openai.com"
    assert (theirs.attributes or {})["gen_ai.provider.name"] == "gcp.gemini"
    assert (own.attributes or {})["gen_ai.provider.name"] == "vllm"


def test_times_are_those_of_the_clock_on_the_wall() -> None:
    own, below = spans_of(attempt())
    assert (own.start_time, own.end_time) == (1_800_000_000 * 10**9, 1_800_000_003 * 10**9)
    assert below.start_time == 1_800_000_000 * 10**9 + 5 * 10**8


def test_an_attempt_that_was_never_sent_is_no_span_and_one_without_an_end_ends_with_its_request() -> (
    None
):
    own, below = spans_of(attempt(dispatched_s=None), attempt(ended_s=None))
    assert below.end_time == own.end_time
    assert (below.attributes or {})["setpoint.attempt"] == 2


def test_any_number_and_an_estimate_are_told_as_they_can_be() -> None:
    usage = Usage(prompt_tokens=2**80, completion_tokens=1, cache_write_tokens=3, estimated=True)
    own, below = spans_of(attempt(usage=usage), max_tokens=-(2**80))
    assert (own.attributes or {})["gen_ai.request.max_tokens"] == -(2**63 - 1)
    assert (below.attributes or {})["gen_ai.usage.input_tokens"] == 2**63 - 1
    assert (below.attributes or {})["gen_ai.usage.cache_creation.input_tokens"] == 3
    assert (below.attributes or {})["setpoint.usage.estimated"] is True


@pytest.mark.parametrize("text", ["\udcff", "a\0b", "x" * 5000])
async def test_whatever_a_client_writes_is_text(
    make_edge: EdgeMaker, collector: OtlpCollector, text: str
) -> None:
    edge = await make_edge(telemetry(collector), policies=REFUSING)
    spelled = json.dumps(text).encode()
    body = chat_body(model="M", user="U", max_tokens=10**30)
    body = body.replace(b'"U"', spelled).replace(b'"M"', spelled if len(text) < 9 else b'"m"')
    answer = await edge.ask("POST", "/v1/chat/completions", body, x_setpoint_intent="batch")
    await flushed(edge)
    assert len(collector.spans) == (answer.status == 429)


def test_the_names_are_those_of_the_conventions() -> None:
    source = Path(otel.__file__).read_text()
    used = set(re.findall(r'"((?:gen_ai|server|http|error)\.[a-z_.]+)"', source))
    modules = (
        gen_ai_attributes, gen_ai_metrics, server_attributes, http_attributes, error_attributes,
    )  # fmt: skip
    known = {v for m in modules for v in vars(m).values() if isinstance(v, str)}
    assert len(used) > 20
    assert used <= known
    assert set(otel.OPERATIONS.values()) <= {
        o.value for o in gen_ai_attributes.GenAiOperationNameValues
    }
    assert set(otel.PROVIDERS.values()) <= {
        p.value for p in gen_ai_attributes.GenAiProviderNameValues
    }
