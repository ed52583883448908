"""What is said of one inference request: in its answer's headers, in the log, in the metrics."""

import logging
from functools import lru_cache, partial
from typing import Literal

from contracts.catalog import Catalog
from contracts.decision import Decision
from contracts.errors import GatewayError, UpstreamFault
from contracts.events import Usage
from contracts.inference import InferRequest, Operation
from gateway import logs
from gateway.budgets import BudgetHold, Reserved
from gateway.flight_recorder import CLIENT_GONE, FlightRecorder
from gateway.head_lines import Headers, fit, read, spelled
from gateway.http_request import HttpRequest
from gateway.progress import Progress, Took
from gateway.request_line import RequestLine, milliseconds
from gateway.runtime import Gateway
from policies.price import cost_usd

WORDED = 256
"""Decisions and models whose lines are kept, worded and found fit."""
_OF_A_STREAM = "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"


@lru_cache(maxsize=WORDED)
def _of_a_decision(intent: str, summary: str) -> str:
    """Lines of a head."""
    return spelled({"x-setpoint-intent": intent or "none", "x-setpoint-decision": summary})


@lru_cache(maxsize=WORDED)
def _of_a_model(name: str) -> str:
    return spelled({"x-setpoint-model": name})


class RequestRecord:
    """One inference request that was decided. `progress` is filled while it runs."""

    def __init__(
        self,
        gateway: Gateway,
        infer: InferRequest,
        decision: Decision,
        catalog: Catalog,
        accepted_s: float,
        recorder: FlightRecorder,
        *,
        client_retry: str | None = None,
        job_id: str | None = None,
    ) -> None:
        self.infer = infer
        self.decision = decision
        self.catalog = catalog
        self.recorder = recorder
        self._client_retry = client_retry
        self._job_id = job_id
        self.budget: Reserved = None
        """What it holds of its caller's budget, or why it may not; None: there is no budget."""
        # Until an attempt knows more: a stream's head may go out before there is one.
        self.progress = Progress(accepted_s=accepted_s, dropped=infer.untold)
        self.delivered = False
        """Its client has been sent all of a stream: that it leaves then means nothing."""
        self._gateway = gateway
        if gateway.telemetry is not None:
            self.progress.trace = gateway.telemetry.begin(infer.facts.headers)
        self.kept = gateway.records.keep(infer) if gateway.records else None
        """What is recorded of the request's and the answer's own words."""

    def lines(self, progress: Progress) -> str:
        """What every answer tells about how it came to be, as lines of its head."""
        now_s = self._gateway.clock()
        elapsed_s = now_s - progress.accepted_s
        elsewhere_s = progress.queue_s + progress.engine_s + progress.backoff_s
        if progress.dispatched_s is not None and progress.ended_s is None:
            elsewhere_s += now_s - progress.dispatched_s
        overhead_s = elapsed_s - elsewhere_s if elapsed_s > elsewhere_s else 0.0
        request_id = self.infer.request_id
        fit(request_id)
        lines = (
            f"x-request-id: {request_id}\r\n"
            f"{_of_a_decision(self.decision.intent, self.decision.summary)}"
            f"x-setpoint-attempts: {len(progress.attempts)}\r\n"
            f"x-setpoint-queue-ms: {progress.queue_s * 1000:.1f}\r\n"
            f"x-setpoint-overhead-ms: {overhead_s * 1000:.2f}\r\n"
            f"openai-processing-ms: {elapsed_s * 1000:.0f}\r\n"
        )
        if progress.target is not None:
            lines += _of_a_model(progress.target.model)
        if progress.dropped:
            lines += spelled({"x-setpoint-dropped": ",".join(progress.dropped)})
        return lines

    def headers(self, progress: Progress) -> Headers:
        """The same, to be told beside or among others."""
        return read(self.lines(progress))

    def cost_usd(self, usage: Usage) -> float | None:
        """What `usage` costs at the target that answers; None where nobody knows: without a price, or by
        an estimate."""
        target = self.progress.target
        if target is None:
            return None
        return cost_usd(self.catalog.models.get(target.model), usage)

    def whole_lines(self) -> str:
        """Those of an answer that is whole, and so has a cost if that is known."""
        lines, usage = self.lines(self.progress), self.progress.usage
        if usage is not None and (usd := self.cost_usd(usage)) is not None:
            lines += f"x-setpoint-cost-usd: {f'{usd:.12f}'.rstrip('0').rstrip('.')}\r\n"
        return lines

    def error_headers(self, error: GatewayError) -> Headers:
        """The same beside an error, which is settled."""
        self.settle(error)
        return self.headers(self.progress)

    def settle(self, error: GatewayError) -> None:
        """What was repeated here in vain, its client must not triple: it is not `retriable` any more, in the
        answer's headers and in its body."""
        if isinstance(error, UpstreamFault) and len(self.progress.attempts) > 1:
            error.retriable = False

    def stream_lines(self, progress: Progress) -> str:
        return self.lines(progress) + _OF_A_STREAM

    def close(self, status: int, error: GatewayError | None) -> None:
        """Settle what it used, which its own answer tells; log and count it, whatever became of it, when that is out."""
        progress, gateway = self.progress, self._gateway
        ended_s = gateway.clock()
        if progress.ended_s is None:
            progress.ended_s = ended_s
        if isinstance(self.budget, BudgetHold):
            tokens = self.recorder.flight.tokens
            self.budget.close(status, error, progress, tokens, ended_s)
        gateway.afterwards.book(partial(self._book, status, error, ended_s))

    def _book(self, status: int, error: GatewayError | None, ended_s: float) -> None:
        progress, decision = self.progress, self.decision
        took = progress.took(ended_s)
        self.recorder.close(status, error, progress, ended_s)
        target = progress.target
        model = target.model if target else decision.shaping.model
        self._gateway.metrics.request(
            self.infer,
            decision,
            progress,
            took,
            # a rule may refuse before anyone asked whether the client's model exists
            model=model if model in self.catalog.models else "unknown",
            status=status,
        )
        if (records := self._gateway.records) is not None:
            records.note(
                self.infer, decision, progress, self.catalog, status, error, ended_s, self.kept
            )
        if (telemetry := self._gateway.telemetry) is not None:
            telemetry.note(self.infer, decision, progress, self.catalog, status, error, ended_s)
        if status == CLIENT_GONE and error is None:
            self._gateway.metrics.counter(
                "setpoint_client_disconnects_total", self.infer.operation
            ).inc()
        level = logging.WARNING if error is not None and status >= 500 else logging.INFO
        logs.say(level, "request", self._line(status, error, took))

    def _line(self, status: int, error: GatewayError | None, took: Took) -> RequestLine:
        infer, decision, progress = self.infer, self.decision, self.progress
        facts, target, usage = infer.facts, progress.target, progress.usage
        attempts = progress.attempts
        last = attempts[-1] if attempts else None
        # In the order of the line: by their names they would take six times as long, 2 us a request.
        return RequestLine(
            infer.request_id,
            self._job_id,
            infer.operation,
            facts.key or None,
            decision.intent or None,
            self.decision.summary,
            decision.policy_version,
            facts.model,
            target.model if target else None,
            target.pool if target else None,
            last.replica if last else None,
            last.engine if last else None,
            last.version if last else None,
            last.model_digest if last else None,
            status,
            facts.stream,
            [a.fault or "ok" for a in attempts] if attempts else None,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
            ",".join(progress.finish_reasons) or None,
            progress.dropped or None,
            milliseconds(took.queue_s),
            milliseconds(took.ttft_s),
            milliseconds(took.upstream_ttft_s),
            milliseconds(took.tpot_s),
            milliseconds(took.e2e_s),
            error.code if error else None,
            error.message if error else None,
            error.where if isinstance(error, UpstreamFault) else None,
            self._client_retry,
        )


def record_undecided(
    gateway: Gateway,
    request: HttpRequest,
    operation: Operation | Literal["task"],
    error: GatewayError | None,
    accepted_s: float,
) -> None:
    """Log and count a request that nothing was decided about: refused with `error`, or None where its
    client left while it was still sending. What it named is not known to be real, so it makes no
    label. Of a task, not even its operation is."""
    status = error.status if error else CLIENT_GONE
    elapsed_s = gateway.clock() - accepted_s
    gateway.metrics.refusal(operation, status, elapsed_s)
    if error is None:
        gateway.metrics.counter("setpoint_client_disconnects_total", operation).inc()
    line = RequestLine(
        request_id=request.request_id,
        operation=operation,
        status=status,
        e2e_ms=milliseconds(elapsed_s),
        error=error.code if error else None,
        error_message=error.message if error else None,
        client_retry=request.headers.get("x-stainless-retry-count"),
    )
    logs.say(logging.INFO, "request", line)
