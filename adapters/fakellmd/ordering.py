"""Which request of one flow goes first: llm-d's ordering policies as keys to sort by. Pure.

Smaller keys go first; whoever ties goes by arrival. Which flow is served is not decided here.
Source: llm-d-router `pkg/epp/framework/plugins/flowcontrol/ordering/{fcfs,edf,slodeadline}`.
"""

from math import inf
from typing import assert_never

import msgspec

from adapters.fakellmd.epp_settings import OrderingPolicy

Key = tuple[float, float, int]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request that asks to be dispatched. `ttl_s` is what its header allows it to wait, if it has one."""

    call: int
    """The caller's number, unique among calls that are not over."""
    priority: int
    flow: str
    body_bytes: int
    received_s: float
    ttft_deadline_ms: int | None = None
    ttl_s: float | None = None


class Item:
    """A request in the queue. `gone`: its client left; it keeps its room until it is swept or surfaces."""

    __slots__ = ("ask", "enqueued_s", "gone", "order", "ttl_s")

    def __init__(self, ask: Ask, enqueued_s: float, order: int, ttl_s: float) -> None:
        """`ttl_s`: how long it may wait where pods are alive; 0 is for ever."""
        self.ask = ask
        self.enqueued_s = enqueued_s
        self.order = order
        self.ttl_s = ttl_s
        self.gone = False


def key(policy: OrderingPolicy, item: Item) -> Key:
    """`slo-deadline` counts from the picker's receipt of the request; without an SLO it goes last."""
    if policy == "fcfs":
        return (item.enqueued_s, item.enqueued_s, item.order)
    if policy == "edf":
        deadline_s = item.enqueued_s + item.ttl_s if item.ttl_s else inf
        return (deadline_s, item.enqueued_s, item.order)
    if policy == "slo-deadline":
        ask = item.ask
        slo_ms = ask.ttft_deadline_ms
        deadline_s = inf if slo_ms is None else ask.received_s + slo_ms / 1000.0
        return (deadline_s, ask.received_s, item.order)
    assert_never(policy)
