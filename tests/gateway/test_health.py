"""Probes: what is learned of an endpoint, what never happens to it, and when it is said."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
import pytest

from adapters.dialect import EndpointState
from gateway.health import PROBE_TIMEOUT_S, Health, probe
from gateway.pools import Pool
from gateway.secrets import SecretValue
from tests.fakes.scripted import ScriptedTransport, data, end, head, refusal, unreachable

pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-2")]
MakePool = Callable[..., Pool]
MODELS = b'{"data":[{"id":"m"}]}'


def listing(body: bytes = MODELS) -> list[object]:
    return [head(0.01), data(0.01, body), end(0.01)]


async def test_a_probe_tells_the_models(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(listing()))
    assert await probe(pool, pool.endpoints[0]) == EndpointState(
        live=True, ready=True, why="ok", models=("m",)
    )


async def test_an_unreachable_endpoint_is_not_ready_and_its_reason_names_no_address(
    make_pool: MakePool,
) -> None:
    pool = make_pool("a", ScriptedTransport(unreachable()))
    state = await probe(pool, pool.endpoints[0])
    assert (state.live, state.ready, state.why) == (False, False, "cannot connect")


async def test_a_silent_endpoint_is_given_up_in_time(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport([]))
    began_s = asyncio.get_running_loop().time()
    state = await probe(pool, pool.endpoints[0])
    assert not state.ready
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(PROBE_TIMEOUT_S)


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b"\xff", b'{"data":5}', b"[" * 50_000])
async def test_nonsense_does_not_break_a_probe(make_pool: MakePool, body: bytes) -> None:
    for engine in ("openai", "anthropic", "llamacpp", "llmd", "vllm"):
        pool = make_pool("a", ScriptedTransport(listing(body)), engine=engine)
        assert (await probe(pool, pool.endpoints[0])).models == ()


async def test_only_the_dialects_own_paths_are_asked_with_the_pools_key(
    make_pool: MakePool,
) -> None:
    transport = ScriptedTransport(listing(b"{}"))
    pool = make_pool("a", transport, engine="llamacpp")
    pool.options = msgspec.structs.replace(pool.options, api_key=SecretValue("k"))
    await probe(pool, pool.endpoints[0])
    assert [(r.method, r.path) for r in transport.requests] == [
        ("GET", path) for path in pool.dialect.probes()
    ]
    assert not {"/slots", "/metrics"} & {r.path for r in transport.requests}
    assert all(("authorization", "Bearer k") in r.headers for r in transport.requests)


async def test_a_path_that_answers_posts_only_is_asked_so(make_pool: MakePool) -> None:
    index = listing(b'[{"name":"llm","version":"1","state":"READY"}]')
    transport = ScriptedTransport(listing(b""), listing(b"{}"), index)
    pool = make_pool("a", transport, engine="triton")
    assert (await probe(pool, pool.endpoints[0])).models == ("llm",)
    assert [(r.method, r.path) for r in transport.requests] == [
        ("GET", "/v2/health/ready"),
        ("GET", "/v2"),
        ("POST", "/v2/repository/index"),
    ]


async def test_a_key_goes_as_the_dialect_wants_it(make_pool: MakePool) -> None:
    transport = ScriptedTransport(listing())
    pool = make_pool("a", transport, engine="anthropic")
    pool.options = msgspec.structs.replace(pool.options, api_key=SecretValue("k"))
    assert (await probe(pool, pool.endpoints[0])).models == ("m",)
    (request,) = transport.requests
    assert {("x-api-key", "k"), ("anthropic-version", "2023-06-01")} <= set(request.headers)


async def test_a_change_is_told_once(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    transport = ScriptedTransport(listing(), listing(), refusal(500), listing())
    pool = make_pool("a", transport, ready=False)
    changes: list[bool] = []
    health = Health([pool], lambda: changes.append(pool.endpoints[0].state.ready))
    await health.first_look()
    watching = asyncio.get_running_loop().create_task(health.watch())
    await asyncio.sleep(10.5)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert changes == [True, False, True]
    said = [r.getMessage() for r in caplog.records]
    assert said == ["endpoint_ready", "endpoint_not_ready", "endpoint_ready"]
    assert len(transport.requests) == 11


async def test_a_probe_is_noted_with_its_time_and_how_long_it_took(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(listing()))
    assert pool.endpoints[0].probed_s is None
    await asyncio.sleep(3)
    await Health([pool], lambda: None).first_look()
    assert pool.endpoints[0].probed_s == pytest.approx(3.0)
    assert pool.endpoints[0].probe_s == pytest.approx(0.01)


@pytest.mark.req("ENG-3")
async def test_a_look_that_begins_anew_believes_nothing_of_before(make_pool: MakePool) -> None:
    silent: list[object] = []
    pool = make_pool("a", ScriptedTransport(listing(), silent), slots=4)
    endpoint = pool.endpoints[0]
    changes: list[bool] = []
    health = Health([pool], lambda: changes.append(endpoint.state.ready))
    await health.first_look()
    assert endpoint.state.slots == 4, "an ordinary look remembers what it was not told"
    (await pool.enter().slot).release()
    await pool.enter().slot
    await health.look_again(pool)
    assert not endpoint.state.ready, "nor does it excuse a busy endpoint that is silent"
    assert endpoint.state.slots is None
    assert changes == [True, False]


async def test_without_a_model_list_what_is_configured_is_served(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(refusal(404, b"{}")))
    state = await probe(pool, pool.endpoints[0])
    assert (state.live, state.ready, state.why) == (
        True,
        True,
        "ok, though it has no model list (404)",
    )


async def test_without_a_model_list_and_a_configured_model_there_is_nothing_to_serve(
    make_pool: MakePool,
) -> None:
    pool = make_pool("a", ScriptedTransport(refusal(404, b"{}")))
    pool.options = msgspec.structs.replace(pool.options, discovers=True)
    state = await probe(pool, pool.endpoints[0])
    assert (state.live, state.ready) == (True, False)
    assert state.why == "it has no model list: name its models in the configuration"
