"""Requests that have met their fate, as records are made of them."""

from collections.abc import Sequence

import msgspec

from contracts.catalog import Catalog, ModelCard
from contracts.decision import Decision, RuleOutcome, Shaping
from contracts.errors import GatewayError
from contracts.events import Event, Usage
from contracts.inference import Constraints, InferRequest, RequestFacts, RoutingPlan, Target
from gateway.progress import AttemptRecord, Progress
from gateway.records.kept import Kept, Room
from gateway.records.recording import Closed, Recorder, outcome
from gateway.records.rows import Recorded
from gateway.records.storable import Redact

TARGET = Target(model="assistant", pool="cluster", upstream="Llama-3.3-70B")
CATALOG = Catalog(
    models={
        "assistant": ModelCard(
            name="assistant",
            pool="cluster",
            upstream="Llama-3.3-70B",
            input_price=0.6,
            output_price=0.8,
        )
    }
)
HEADERS = {
    "host": "gateway.internal:8080",
    "user-agent": "OpenAI/Python 2.8.0",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "content-type": "application/json",
    "content-length": "412",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "2.8.0",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "CPython",
    "x-stainless-retry-count": "0",
}
FACTS = RequestFacts(
    operation="chat",
    model="assistant",
    stream=True,
    max_tokens=256,
    prompt_tokens=90,
    messages=2,
    key="web",
    headers=HEADERS,
)
INFER = InferRequest(
    request_id="req_0123456789abcdef01234567",
    operation="chat",
    members={"model": msgspec.Raw(b'"assistant"'), "messages": msgspec.Raw(b'[{"role":"user"}]')},
    facts=FACTS,
)
DECISION = Decision(
    intent="interactive",
    shaping=Shaping(model="assistant", priority=10),
    models=("assistant",),
    constraints=Constraints(objective="interactive", priority=10, ttft_s=0.8),
    rules=(RuleOutcome(rule="long-prompts", verdict="no_match", why="prompt_tokens > 4000"),),
    policy_version="722396546857",
)
USAGE = Usage(prompt_tokens=90, completion_tokens=120)


def attempt(**members: object) -> AttemptRecord:
    fields: dict[str, object] = {
        "target": TARGET,
        "engine": "vllm",
        "replica": "cluster/1",
        "version": "0.11.0",
        "model_digest": None,
        "dispatched_s": 100.5,
        "first_token_s": 101.0,
        "ended_s": 103.0,
        "usage": USAGE,
    }
    return AttemptRecord(**(fields | members))  # type: ignore[arg-type]


def progress(**members: object) -> Progress:
    fields: dict[str, object] = {
        "accepted_s": 100.0,
        "target": TARGET,
        "queue_s": 0.5,
        "attempts": [attempt()],
        "dispatched_s": 100.5,
        "first_token_s": 101.0,
        "ended_s": 103.0,
        "usage": USAGE,
        "finish_reasons": ["stop"],
    }
    return Progress(**(fields | members))  # type: ignore[arg-type]


def closed(number: int = 0, **members: object) -> Closed:
    fields: dict[str, object] = {
        "request_id": f"req_{number}",
        "facts": FACTS,
        "decision": DECISION,
        "progress": progress(),
        "catalog": CATALOG,
        "status": 200,
        "error_code": None,
        "outcome": outcome(200, None),
        "ended_s": 103.0,
        "wall_s": 1_800_000_003.0 + number,
        "kept": None,
    }
    return Closed(**(fields | members))  # type: ignore[arg-type]


def kept(
    members: dict[str, msgspec.Raw] = INFER.members,
    events: Sequence[Event] = (),
    native: dict[str, dict[str, msgspec.Raw]] | None = None,
) -> Kept:
    """What a request and its answer left, where bodies are recorded."""
    infer = msgspec.structs.replace(INFER, members=members, native=native or {})
    found = Kept(infer, Room(10**9))
    found.answer.add(events)
    return found


def resolved(decision: Decision, catalog: Catalog) -> RoutingPlan:
    return RoutingPlan(targets=(TARGET,), constraints=decision.constraints)


def recorded(one: Closed, redact: Redact = str, *, recorder: Recorder | None = None) -> Recorded:
    """All that is recorded of it."""
    recorder = recorder or Recorder(resolved, redact)
    row = recorder.rows(one)
    return row if one.kept is None else recorder.with_bodies(row, one.kept)


def failed(error: GatewayError, number: int = 0) -> Closed:
    return closed(
        number,
        status=error.status,
        error_code=error.code,
        outcome=outcome(error.status, error),
    )
