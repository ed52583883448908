"""llm-d: vLLM's words, and constraints in headers. The one place where intents become llm-d's.

Sources: llm-d-router v0.10 (`metadata/consts.go`, `common/error/error.go`) and, for the two headers
about its queue, what was merged after it (pull requests 2649 and 2490), as told in `docs/llmd.md`.
The endpoint picker restarts the clock at its own receipt, so it is told what *remains* of the
first-token budget; its deadline ordering reads integers only.

What must stay true: a body has a `priority` only where the pool says that it is read, and then with the
opposite sign: vLLM may refuse any other. To llm-d itself a priority is an objective's name.
"""

import re
from collections.abc import Mapping

import msgspec

from adapters.dialect import AttemptContext, Counting, EndpointState, Prefill, WireHead
from adapters.load_signals import LoadMetrics
from adapters.openai import OpenAIDialect
from adapters.openai_wire import ErrorPiece, read_error
from adapters.retry_after import retry_after_s
from adapters.token_counting import by_vllm, countable
from adapters.wire_json import read_answer
from contracts.errors import FaultClass, UpstreamFault
from contracts.inference import InferRequest, Operation

OBJECTIVE = "x-llm-d-inference-objective"
FAIRNESS = "x-llm-d-inference-fairness-id"
SLO_TTFT_MS = "x-llm-d-slo-ttft-ms"
SLO_TPOT_MS = "x-llm-d-slo-tpot-ms"
TTL = "x-llm-d-inference-ttl"
QUEUE_MS = "x-llm-d-flow-queue-duration-ms"
DROPPED = "x-llm-d-request-dropped-reason"

_INT64_MAX = 2**63 - 1
_TTL_MAX_S = 86_400.0
"""A day. It can only shorten the operator's own bound, which is a minute by default."""
_WHOLE_NUMBER = re.compile(r"[0-9]{1,12}")
_PLAIN_ERROR = b"inference error:"
_SLO_SHED = "request cannot be admitted"
_BY_REASON: dict[str, FaultClass] = {
    "rejected-saturated": "overload",
    "rejected-ttl-expired": "overload",
    "rejected-no-endpoints": "unavailable",
    "rejected-shutting-down": "unavailable",
    "rejected-context-cancelled": "unavailable",
    "evicted": "overload",
    "evicted-queue-pressure": "overload",
    "evicted-priority": "overload",
}


class VllmDialect(OpenAIDialect):
    """vLLM's OpenAI server, which llm-d puts its router in front of."""

    engine = "vllm"
    # Lower means earlier there, and it knows nothing of intents: any client could go first.
    withheld = frozenset({"priority"})
    always_lists = True

    def limit_name(self, operation: Operation) -> str:
        return "max_tokens"

    def own_members(self, attempt: AttemptContext) -> dict[str, int]:
        own: dict[str, int] = {}
        priority = -attempt.constraints.priority
        if attempt.priority_scheduling and priority:
            own["priority"] = max(-_INT64_MAX, min(priority, _INT64_MAX))
        if attempt.continues:  # else it closes the last message and begins another one
            own |= {"add_generation_prompt": False, "continue_final_message": True}
        return own

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        if status in (429, 503):  # --max-num-queued-reqs, or "please retry"; it knows no accounts
            return "overload"
        return super().classify(found, status)

    def counting(self, infer: InferRequest, attempt: AttemptContext) -> Counting | None:
        return by_vllm(infer, attempt) if countable(infer) else None

    def prefill(self) -> Prefill:
        return (
            "continues"  # told to by `continue_final_message`; it says nothing again without `echo`
        )

    def load_metrics(self) -> LoadMetrics | None:
        return LoadMetrics(
            waiting=("vllm:num_requests_waiting",),
            running=("vllm:num_requests_running",),
            # its name since V1, and the one from before
            kv_cache_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        )

    def probes(self) -> tuple[str, ...]:
        return ("/health", "/v1/models", "/version")

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        health = answers.get("/health")
        # 404: a router in front of it may not let the path through. Its model list decides then.
        if health is not None and health[0].status not in (200, 404):
            return EndpointState(live=True, why="its health check fails")
        base = super().state(answers)
        told = read_answer(_decode_version, answers.get("/version"))
        return msgspec.structs.replace(
            base,
            version=told.version[:64] if told else None,
            context=_context(answers.get("/v1/models")),
        )


class LlmdDialect(VllmDialect):
    engine = "llmd"

    def load_metrics(self) -> LoadMetrics | None:
        return None  # its address leads to one engine of many, and not always to the same

    def headers(self, infer: InferRequest, attempt: AttemptContext) -> tuple[tuple[str, str], ...]:
        wants = attempt.constraints
        headers = list(super().headers(infer, attempt))
        if wants.objective:
            headers.append((OBJECTIVE, wants.objective))
        if wants.fairness_id:
            headers.append((FAIRNESS, wants.fairness_id))
        if wants.ttft_s is not None:
            remaining_s = wants.ttft_s - attempt.waited_s
            headers.append((SLO_TTFT_MS, str(_whole_ms(remaining_s))))
            if attempt.inference_ttl:
                ttl_s = min(remaining_s - (attempt.prefill_s or 0.0), _TTL_MAX_S)
                headers.append((TTL, f"{_whole_ms(ttl_s)}ms"))
        if wants.tpot_s is not None:
            headers.append((SLO_TPOT_MS, str(_whole_ms(wants.tpot_s))))
        return tuple(headers)

    def queue_s(self, head: WireHead) -> float | None:
        told = head.headers.get(QUEUE_MS, "")
        return int(told) / 1000 if _WHOLE_NUMBER.fullmatch(told) else None

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        found = read_error(body)
        if found is None and body.startswith(_PLAIN_ERROR):
            text = body.removeprefix(_PLAIN_ERROR).decode("utf-8", "replace").strip()
            found = ErrorPiece(message=text[:1000])
        found = found or ErrorPiece()
        fault = self.fault_of(found, head.status, retry_after_s(head.headers))
        reason = head.headers.get(DROPPED, "")
        if reason not in _BY_REASON:
            return fault
        status = 503 if head.status == 503 else 429
        return UpstreamFault(
            found.message or reason,
            fault=_BY_REASON[reason],
            status=status,
            code=reason.replace("-", "_"),
            type="rate_limit_error" if status == 429 else "overloaded_error",
            upstream_status=head.status,
            retry_after_s=fault.retry_after_s,
        )

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        message = found.message or ""
        if status == 500 and _SLO_SHED in message:
            return "slo_shed"  # llm-d declined for its own objective: no fault of the engine
        if status == 503 and found.type is None:
            return "unavailable"  # the router's or its proxy's own words; vLLM's have a type
        return super().classify(found, status)


def _whole_ms(seconds: float) -> int:
    """Milliseconds as a whole number, at least 1. 1.001 * 1000 is 1000.999..., and means 1001."""
    return max(1, int(max(0.0, seconds) * 1000 + 1e-6))


class _Model(msgspec.Struct):
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model] = []


_decode_models = msgspec.json.Decoder(_Models).decode


def _context(answer: tuple[WireHead, bytes] | None) -> int | None:
    """Tokens a request may have, whichever of the models it is for; None where they do not agree."""
    listed = read_answer(_decode_models, answer)
    told = {model.max_model_len for model in listed.data} if listed else set()
    context = told.pop() if len(told) == 1 else None
    return context if context is not None and context > 0 else None


class _Version(msgspec.Struct):
    version: str


_decode_version = msgspec.json.Decoder(_Version).decode
