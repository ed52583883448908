"""Pools that are simulated in process, and what those with endpoints share."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.afterwards import Afterwards
from gateway.configuration import load
from gateway.pool_building import build_pool
from policies.affinity import Sessions
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


@pytest.mark.req("OPS-4")
def test_certificates_are_read_once_for_all_endpoints_that_trust_the_same(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text(
        "pools:\n"
        "  - {id: a, engine: openai, endpoints: [https://a.test, https://b.test, http://c.test]}\n"
        "  - {id: b, engine: openai, endpoint: https://d.test}\n"
        "  - {id: c, engine: openai, endpoint: https://e.test, verify_tls: false}\n"
    )
    loaded = load(tmp_path / "setpoint.yaml", env={})
    pools = [build_pool(spec, lambda: 0.0, Sessions(), Afterwards()) for spec in loaded.pools]
    of = [endpoint.transport._tls for pool in pools for endpoint in pool.endpoints]  # type: ignore[attr-defined]
    assert of[0] is of[1] is of[3]
    assert of[0].verify_mode is ssl.CERT_REQUIRED
    assert of[2] is None
    assert of[4].verify_mode is ssl.CERT_NONE
