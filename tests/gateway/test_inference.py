"""One way for every request: what is decided, refused and carried out is the same for both doors."""

from pathlib import Path

import pytest

from contracts.errors import BudgetExceeded, RejectedByPolicy
from gateway.budgets import Budgets, Reserved
from gateway.inference import carry_out, decided, identity, refusal
from gateway.intake import read_request
from gateway.replies import FoldReply
from gateway.request_record import RequestRecord
from policies.flight import Flight
from tests.fakes.virtual_gateway import VirtualGateway

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-1", "OPS-1")]
POLICIES = """
intents: [{name: all, match: {default: true}}]
rules:
  - {name: no sevens, when: request.max_tokens == 7, then: {reject: {message: no, retry_after: 9s}}}
"""


async def test_what_was_decided_is_carried_out(tmp_path: Path) -> None:
    virtual = VirtualGateway(tmp_path, POLICIES)
    await virtual.begin()
    body = b'{"model":"big","messages":[{"role":"user","content":"a"}],"max_tokens":3}'
    infer = read_request(body, "chat", request_id="r", key="", headers={})
    record = decided(virtual.gateway, infer, virtual.now(), job_id="task_1")
    assert isinstance(record, RequestRecord)
    assert record.decision.intent == "all"
    assert refusal(record) is None
    named = identity(virtual.gateway, record)
    assert (named.operation, named.model) == ("chat", "big")
    assert named.id.startswith("chatcmpl-")
    reply = FoldReply(named, max_bytes=1 << 20)
    await carry_out(virtual.gateway, record, reply)
    assert record.progress.usage is not None
    assert record.progress.attempts[0].fault is None
    assert reply.over
    record.close(200, None)
    await virtual.aclose()


async def test_what_a_rule_refuses_is_not_carried_out(tmp_path: Path) -> None:
    virtual = VirtualGateway(tmp_path, POLICIES)
    await virtual.begin()
    body = b'{"model":"big","prompt":"a","max_tokens":7}'
    infer = read_request(body, "completion", request_id="r", key="", headers={})
    record = decided(virtual.gateway, infer, virtual.now())
    assert isinstance(record, RequestRecord)
    error = refusal(record)
    assert isinstance(error, RejectedByPolicy)
    assert (error.policy_label, error.retry_after_s) == ("no sevens", 9.0)
    reply = FoldReply(identity(virtual.gateway, record), max_bytes=100)
    with pytest.raises(RejectedByPolicy):
        await carry_out(virtual.gateway, record, reply)
    assert record.progress.attempts == []
    record.close(error.status, error)
    await virtual.aclose()


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize("refused", [None, BudgetExceeded("used up")])
async def test_a_budget_that_is_fetched_first_decides_whether_it_is_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: BudgetExceeded | None
) -> None:
    class Fetched(Budgets):
        async def reserve(self, *asked: object) -> Reserved:
            return refused

    virtual = VirtualGateway(tmp_path, POLICIES)
    await virtual.begin()
    gateway = virtual.gateway
    gateway.budgets = Fetched((), (), metrics=gateway.metrics, clock=gateway.clock)
    offered: list[Flight] = []
    monkeypatch.setattr(gateway.loop, "offered", offered.append)
    infer = read_request(
        b'{"model":"big","prompt":"a"}', "completion", request_id="r", key="", headers={}
    )
    found = decided(gateway, infer, virtual.now())
    assert not isinstance(found, RequestRecord)
    assert offered == []
    record = await found
    assert (record.budget, refusal(record)) == (refused, refused)
    assert offered == ([record.recorder.flight] if refused is None else [])
    record.close(200 if refused is None else 429, refused)
    await virtual.aclose()
