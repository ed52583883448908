"""One way for every request, whichever door it came through: decided here, carried out here.

The doors (OpenAI's endpoints, tasks) read what they are sent, bring a sink for the answer, and close the
record with the status that they answered with.
"""

import time
from collections.abc import Awaitable

from contracts.decision import Decision
from contracts.errors import BudgetExceeded, RejectedByPolicy, Shed, ShedByIntent
from contracts.inference import InferRequest, Operation
from gateway.answers import Identity
from gateway.budgets import BudgetHold, Reserved
from gateway.ids import new_id
from gateway.records.keeping_sink import KeepingSink
from gateway.request_record import RequestRecord
from gateway.routing_plan import plan
from gateway.runtime import Gateway
from gateway.sinks import AnswerSink

_ID_PREFIX: dict[Operation, str] = {"chat": "chatcmpl-", "completion": "cmpl-", "embedding": "emb-"}

_SAID_AT_ONCE = (BudgetHold, BudgetExceeded)
"""What a budget that need not be fetched answers."""


def decided(
    gateway: Gateway,
    infer: InferRequest,
    accepted_s: float,
    *,
    client_retry: str | None = None,
    job_id: str | None = None,
) -> RequestRecord | Awaitable[RequestRecord]:
    """The brain's word on a request. Whoever calls must `close` the record, whatever becomes of it.

    The record is to be awaited only where several processes share a budget, and this one must have more of
    it first: a request that need not wait makes no coroutine.

    `client_retry` is how often the client says it has tried before, `job_id` the id of a task. Raises
    GatewayError where nothing could be decided (no such model, no model good enough, none known yet).
    """
    policy, catalog = gateway.policy, gateway.catalog
    decision = gateway.decide(infer.facts, policy, catalog)
    # What a rule refuses uses nothing of its caller's budget, and what the budget refuses is no load.
    budget: Reserved | Awaitable[Reserved] = None
    if decision.shaping.reject is None:
        budget = gateway.budgets.reserve(infer, decision, catalog)
    offered = budget is None or isinstance(budget, BudgetHold)
    recorder = gateway.recorder(infer, decision, policy, catalog, accepted_s, offered=offered)
    record = RequestRecord(
        gateway,
        infer,
        decision,
        catalog,
        accepted_s,
        recorder,
        client_retry=client_retry,
        job_id=job_id,
    )
    if budget is None or isinstance(budget, _SAID_AT_ONCE):
        record.budget = budget
        return record
    return _when_reserved(record, budget)


async def _when_reserved(record: RequestRecord, budget: Awaitable[Reserved]) -> RequestRecord:
    record.budget = await budget
    if not isinstance(record.budget, BudgetExceeded):
        record.recorder.offered()
    return record


def identity(gateway: Gateway, record: RequestRecord) -> Identity:
    """What stays the same in all that is said of one answer."""
    operation = record.infer.operation
    return Identity(
        operation=operation,
        id=new_id(_ID_PREFIX[operation]),
        created_s=int(time.time()),
        model=record.decision.shaping.model,
        reasoning_field=gateway.config.streams.reasoning_field,
    )


def refusal(record: RequestRecord) -> Shed | None:
    """Why it is not to be carried out at all: a rule, the control loop, or its caller's budget."""
    decision = record.decision
    if (reject := decision.shaping.reject) is not None:
        return _rejection(decision, reject.message, reject.retry_after_s, reject.status)
    return record.budget if isinstance(record.budget, BudgetExceeded) else None


def carry_out(gateway: Gateway, record: RequestRecord, sink: AnswerSink) -> Awaitable[object]:
    """Await it: what was decided runs to its end; the answer goes to `sink`, the facts to `record.progress`.

    Raises what `refusal` says at once, and GatewayError, when it is awaited, if no content could be had.
    """
    if (refused := refusal(record)) is not None:
        raise refused
    routing = plan(record.decision, record.catalog)
    if record.kept is not None and record.infer.operation != "embedding":
        sink = KeepingSink(sink, record.kept.answer)
    return gateway.executor.infer(
        record.infer, routing, record.catalog, sink, record.progress, record.recorder
    )


def _rejection(decision: Decision, message: str, retry_after_s: float | None, status: int) -> Shed:
    """The rule's refusal, or the control loop's. The label names which, so that a client can tell one
    from another."""
    rule = next((r.rule for r in reversed(decision.rules) if r.verdict == "applied"), None)
    if decision.shed_for is not None:
        return ShedByIntent(message, retry_after_s=retry_after_s, policy_label=rule)
    error = RejectedByPolicy(message, retry_after_s=retry_after_s, policy_label=rule)
    error.status = status
    return error
