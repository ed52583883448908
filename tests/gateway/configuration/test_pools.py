"""Pools: their endpoints, and what their engines have a use for."""

from pathlib import Path

import pytest

from tests.support.configured import ONE_POOL, POOL, load_text, problems


def test_the_short_form_is_the_pool_default(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "adapter: {engine: llamacpp, endpoint: 'http://h:1/v1'}\n")
    (pool,) = loaded.pools
    assert (pool.id, pool.engine, pool.endpoints) == ("default", "llamacpp", ("http://h:1",))
    assert pool.discovers
    assert loaded.catalog.discovering
    assert loaded.catalog.models == {}
    assert loaded.catalog.routes == {}


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            ONE_POOL + "adapter: {engine: embedded}",
            "2:10: adapter: adapter and pools are both given"
            " (adapter is the short form of one pool: keep one of the two)",
        ),
        (
            "pools: [{id: a, engine: embedded}, {id: a, engine: embedded}]",
            "1:41: pools[1].id: 'a' is given twice",
        ),
        (
            "pools: [{id: a, engine: vllm}]",
            "1:9: pools[0]: a pool of engine vllm needs an endpoint (add endpoint: URL)",
        ),
        (
            "adapter: {engine: llmd}",
            "1:10: adapter: a pool of engine llmd needs an endpoint (add endpoint: URL)",
        ),
        (
            "pools: [{id: a, engine: embedded, endpoint: 'http://x'}]",
            "1:45: pools[0].endpoint: the embedded engine runs in this process: no endpoint",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoint: 'http://x', endpoints: ['http://y']}]",
            "1:41: pools[0].endpoint: endpoint and endpoints are both given",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoints: ['http://x', 'http://x/v1/']}]",
            "1:55: pools[0].endpoints[1]: the same endpoint twice",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoint: 'http://u:p@x'}]",
            "1:41: pools[0].endpoint: a URL with credentials would show in logs; use api_key",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoint: 'http://x:99999'}]",
            "1:41: pools[0].endpoint: not a URL: its host or port cannot be read",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoint: 'http://x?a=1'}]",
            "1:41: pools[0].endpoint: an endpoint has no query and no fragment",
        ),
        (
            "pools: [{id: a, engine: openai, ca_file: no.pem}]",
            "1:42: pools[0].ca_file: no such file",
        ),
        (
            POOL % "retry_budget: 1.5",
            "1:81: pools[0].retry_budget: expected a share such as 1% or 0.01, at most 100%, got 1.5",
        ),
        (POOL % "breaker: {failures: 0}", "1:87: pools[0].breaker.failures: must be at least 1"),
        (POOL % "breaker: {window: 0}", "1:85: pools[0].breaker.window: must be more than zero"),
        (
            POOL % "breaker: {cool_down: 1s}",
            "1:77: pools[0].breaker: unknown field 'cool_down' (did you mean 'cooldown'?)",
        ),
        (
            POOL % "timeouts: {min_tokens_per_s: 0}",
            "1:96: pools[0].timeouts.min_tokens_per_s: must be more than 0",
        ),
        (
            "pools: [{id: a, engine: openai, priority_scheduling: true}]",
            "1:54: pools[0].priority_scheduling: a pool of engine openai has no use for it"
            " (for embedded, llmd, vllm only)",
        ),
        (
            "pools: [{id: a, engine: openai, load_metrics: true}]",
            "1:47: pools[0].load_metrics: engine openai does not tell how busy it is (leave it out)",
        ),
        (
            "pools: [{id: a, engine: vllm, simulate: {}, load_metrics: true}]\n"
            "models: [{name: m, pool: a}]",
            "1:59: pools[0].load_metrics: without an endpoint there is nothing to ask (leave it out)",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoint: 'http://x', inference_ttl: true}]",
            "1:68: pools[0].inference_ttl: a pool of engine vllm has no use for it"
            " (for embedded, llmd only)",
        ),
        (
            "pools: [{id: a, engine: vllm, endpoint: 'http://x', metrics: 'http://y/metrics'}]",
            "1:62: pools[0].metrics: a pool of engine vllm has no use for it (for llmd only)",
        ),
        (
            "pools: [{id: a, engine: llmd, endpoint: 'http://x', metrics: 'http://y/m?a=1'}]",
            "1:62: pools[0].metrics: an endpoint has no query and no fragment",
        ),
        (
            "pools: [{id: a, engine: llmd, simulate: {}}]",
            "1:41: pools[0].simulate: without an endpoint, only models that are configured can be"
            " served (add one to models)",
        ),
        (
            "pools: [{id: a, engine: vllm}]\n"
            "models: [{name: m, pool: a, simulate: {}}, {name: n, pool: a}]",
            "2:44: models[1]: pool 'a' has no endpoint, and nothing says what this model is like"
            " (add simulate to the model or to its pool)",
        ),
        (
            "pools: [{id: a, engine: vllm, simulate: {}}]\n"
            "models: [{name: m, pool: a, upstream: 'two words'}]",
            "2:39: models[0].upstream: this cannot be simulated: expected a name of up to 128"
            " ASCII letters, digits and . _ : / @ + -",
        ),
        (
            "pools: [{id: a, engine: vllm}]\nmodels: [{name: m, pool: a, upstream: u, simulate: {}},"
            " {name: n, pool: a, upstream: u, simulate: {replicas: 2}}]",
            "2:99: models[1].simulate: models[0] is the same model of this pool, and simulated"
            " otherwise (say it once)",
        ),
        (
            "pools: [{id: a, engine: llamacpp, simulate: {}}]\nmodels: [{name: m, pool: a}]",
            "1:9: pools[0]: a pool of engine llamacpp needs an endpoint (add endpoint: URL)",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.req("RUN-2", "SEC-4")
@pytest.mark.parametrize("text", ["pools: [{id: a, engine: claude}]", "adapter: {engine: claude}"])
def test_an_unknown_engine_is_told_which_are_known(tmp_path: Path, text: str) -> None:
    (said,) = problems(tmp_path, text)
    assert "engine: there is no engine 'claude' (known: anthropic, embedded, gemini, " in said


@pytest.mark.req("RUN-2")
def test_a_provider_needs_no_endpoint_and_a_pool_says_what_is_dropped(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "pools: [{id: a, engine: anthropic, unsupported: drop}, {id: b, engine: openai}]\n"
        "models: [{name: m, pool: a}, {name: n, pool: b}]",
    )
    assert [(pool.endpoints, pool.unsupported) for pool in loaded.pools] == [
        (("https://api.anthropic.com",), "drop"),
        (("https://api.openai.com",), "refuse"),
    ]


@pytest.mark.req("INT-8")
def test_a_pool_that_is_described_needs_no_endpoint(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "pools:\n"
        "  - {id: a, engine: llmd, simulate: {max_num_seqs: 64, prefill_overhead: 0}}\n"
        "  - {id: b, engine: vllm}\n"
        "  - {id: c, engine: vllm, endpoint: 'http://x', simulate: {replicas: 2}}\n"
        "models:\n"
        "  - {name: large, pool: a, upstream: L, simulate: {inter_token_latency: 25ms}}\n"
        "  - {name: small, pool: a, simulate: {max_num_seqs: 8}}\n"
        "  - {name: other, pool: b, simulate: {}}\n"
        "  - {name: real, pool: c}\n",
    )
    a, b, c = loaded.pools
    assert (a.endpoints, b.endpoints, c.endpoints) == ((), (), ("http://x",))
    assert [pool.discovers for pool in loaded.pools] == [False, False, False]
    assert {name: one.max_num_seqs for name, one in a.simulated.items()} == {"L": 64, "small": 8}
    assert a.simulated["L"].latency.inter_token_latency_s == 0.025
    assert a.simulated["L"].latency.prefill_overhead_s == 0
    assert list(b.simulated) == ["other"]
    assert c.simulated["real"].replicas == 2
