"""What a refusal teaches a limit, by what the dialects really say."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialect import WireHead
from adapters.llmd import LlmdDialect, VllmDialect
from adapters.openai import OpenAIDialect
from contracts.errors import FaultClass
from policies.capacity_refusal import CapacitySignal, capacity_refusal

pytestmark = pytest.mark.req("INT-8")

LLMD, VLLM, OPENAI = LlmdDialect(), VllmDialect(), OpenAIDialect()
FULL = b'{"error":{"message":"waiting requests queue is full","type":"RateLimitError","code":429}}'
BUSY = b'{"error":{"message":"busy","type":"Service Unavailable","code":503}}'
QUOTA = b'{"error":{"message":"no money","code":"insufficient_quota"}}'


@pytest.mark.parametrize(
    ("dialect", "status", "reason", "body", "signal"),
    [
        (LLMD, 429, "rejected-saturated", b"", "capacity"),
        (LLMD, 429, None, b"inference error: ResourceExhausted - system saturated", "capacity"),
        (LLMD, 429, None, FULL, "capacity"),
        (VLLM, 429, None, FULL, "capacity"),
        (VLLM, 503, None, BUSY, "capacity"),
        (LLMD, 503, None, BUSY, "capacity"),
        (OPENAI, 529, None, b"", "capacity"),
        (LLMD, 429, "rejected-ttl-expired", b"", "expired"),
        (LLMD, 503, "rejected-ttl-expired", b"", "expired"),  # v0.9
        (LLMD, 429, "evicted", b"", "none"),
        (LLMD, 429, "evicted-priority", b"", "none"),
        (LLMD, 429, "evicted-queue-pressure", b"", "none"),
        (LLMD, 503, "rejected-no-endpoints", b"", "none"),
        (LLMD, 503, "rejected-context-cancelled", b"", "none"),
        (LLMD, 503, "rejected-shutting-down", b"", "none"),
        (LLMD, 503, None, b"no healthy upstream", "none"),
        (LLMD, 500, None, b"inference error: Internal - request cannot be admitted: x", "none"),
        (LLMD, 500, None, b"inference error: Internal - x", "none"),
        (LLMD, 400, None, b"", "none"),
        (OPENAI, 429, None, b"", "none"),  # the account's limit, not the engine's
        (OPENAI, 429, None, QUOTA, "none"),
        (OPENAI, 503, None, b"", "none"),
    ],
)
def test_a_refusal_teaches_what_the_backend_knows(
    dialect: OpenAIDialect, status: int, reason: str | None, body: bytes, signal: CapacitySignal
) -> None:
    headers = {} if reason is None else {"x-llm-d-request-dropped-reason": reason}
    found = dialect.fault(WireHead(status=status, headers=headers), body)
    assert capacity_refusal(found.fault, found.code) == signal


@given(fault=st.sampled_from(get_args(FaultClass)), code=st.text())
def test_only_an_overload_says_anything_of_room(fault: FaultClass, code: str) -> None:
    if fault != "overload":
        assert capacity_refusal(fault, code) == "none"
