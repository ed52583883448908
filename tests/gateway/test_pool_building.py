"""Pools that are simulated in process."""

from collections.abc import Awaitable, Callable

import pytest

from tests.fakes.edge import Edge

MakeEdge = Callable[..., Awaitable[Edge]]
SIMULATED = """
pools:
  - {id: sim, engine: llmd, simulate: {prefill_overhead: 1ms, inter_token_latency: 1ms}}
  - {id: far, engine: vllm, simulate: {prefill_overhead: 1ms, inter_token_latency: 1ms}}
models:
  - {name: big, pool: sim, upstream: Big-70B}
  - {name: small, pool: sim, upstream: Small-8B}
  - {name: other, pool: far}
routes: {big: [big, other]}
"""


@pytest.mark.req("INT-9")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["big", "small", "other"])
async def test_a_pool_without_endpoints_is_served_by_the_engines_it_describes(
    make_edge: MakeEdge, model: str, stream: bool
) -> None:
    edge = await make_edge(SIMULATED, embedded=True)
    assert edge.gateway.ready()
    answer = await edge.chat(model=model, max_tokens=3, stream=stream, ignore_eos=True)
    assert answer.status == 200
    assert answer.headers["x-setpoint-model"] == model
    if not stream:
        assert answer.json["model"] == model
        assert answer.json["usage"]["completion_tokens"] == 3


@pytest.mark.req("INT-9")
async def test_each_of_its_models_has_engines_of_its_own(make_edge: MakeEdge) -> None:
    edge = await make_edge(SIMULATED, embedded=True)
    (endpoint,) = edge.gateway.pools["sim"].endpoints
    fleet = endpoint.transport
    assert sorted(fleet.fakes) == ["Big-70B", "Small-8B"]
    await edge.chat(model="small", max_tokens=1)
    lanes = dict(edge.gateway.loop.steering.lanes())
    assert ("sim", "Small-8B") in lanes
    assert ("sim", "Big-70B") not in lanes
