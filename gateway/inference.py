"""One way for every request, whichever door it came through: decided here, carried out here.

The doors (OpenAI's endpoints, tasks) read what they are sent, bring a sink for the answer, and close the
record with the status that they answered with.
"""

from contracts.decision import Decision
from contracts.errors import RejectedByPolicy, Shed, ShedByIntent
from contracts.inference import InferRequest
from gateway.executor import AnswerSink
from gateway.request_record import RequestRecord
from gateway.runtime import Gateway, plan


def decided(
    gateway: Gateway, infer: InferRequest, accepted_s: float, *, client_retry: str | None = None
) -> RequestRecord:
    """The brain's word on a request. Whoever calls must `close` the record, whatever becomes of it.

    `client_retry` is how often the client says it has tried before. Raises GatewayError where nothing
    could be decided (no such model, no model good enough, none known yet).
    """
    policy, catalog = gateway.policy, gateway.catalog
    decision = gateway.decide(infer.facts, policy, catalog)
    recorder = gateway.recorder(infer, decision, policy, catalog, accepted_s)
    return RequestRecord(
        gateway, infer, decision, catalog, accepted_s, recorder, client_retry=client_retry
    )


async def carry_out(gateway: Gateway, record: RequestRecord, sink: AnswerSink) -> None:
    """Run what was decided to its end; the answer goes to `sink`, the facts to `record.progress`.

    Raises GatewayError if no content could be had, or if a rule or the control loop refuses it.
    """
    decision = record.decision
    if (reject := decision.shaping.reject) is not None:
        raise _rejection(decision, reject.message, reject.retry_after_s, reject.status)
    routing = plan(decision, record.catalog)
    await gateway.executor.infer(
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
