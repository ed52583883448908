"""Loading a configuration: what the gateway is built from, or everything that is wrong with it."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.settings import LlmdSettings
from contracts.catalog import RouteOptions
from contracts.problems import ProblemsFound
from gateway.addresses import endpoint_fault, is_loopback, normal_endpoint
from gateway.configuration import load
from gateway.policy_files import SHIPPED
from gateway.settings import LoadedConfig
from policies.breaker import BreakerSettings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "setpoint.example.yaml"
ONE_POOL = "pools: [{id: a, engine: llamacpp, endpoint: 'http://127.0.0.1:1'}]\n"
POOL = "pools: [{id: a, engine: llamacpp, endpoint: 'http://127.0.0.1:1', %s}]\n"


def load_text(tmp_path: Path, text: str, **env: str) -> LoadedConfig:
    path = tmp_path / "setpoint.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, env=env)


def problems(tmp_path: Path, text: str, **env: str) -> list[str]:
    """Without the file's name: `line:column: path: message (hint)`."""
    with pytest.raises(ProblemsFound) as caught:
        load_text(tmp_path, text, **env)
    prefix = f"{tmp_path / 'setpoint.yaml'}:"
    return [str(problem).removeprefix(prefix) for problem in caught.value.problems]


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("text", [None, "", "bind_addr: 127.0.0.1:8080\n"])
def test_without_pools_the_embedded_one_serves(tmp_path: Path, text: str | None) -> None:
    loaded = load(None, env={}) if text is None else load_text(tmp_path, text)
    assert (loaded.host, loaded.port) == ("127.0.0.1", 8080)
    (pool,) = loaded.pools
    assert (pool.id, pool.engine, pool.endpoints, pool.discovers) == ("sim", "embedded", (), False)
    assert {
        m.name: (m.upstream, m.quality, m.input_price) for m in loaded.catalog.models.values()
    } == {
        "assistant": ("sim-large", 0.9, 0.60),
        "assistant-small": ("sim-small", 0.7, 0.05),
    }
    assert loaded.catalog.routes == {"assistant": ("assistant", "assistant-small")}
    assert loaded.catalog.pools == {"sim"}
    assert not loaded.catalog.discovering
    assert loaded.policies_path == SHIPPED


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({}, "https://api.openai.com"),
        ({"OPENAI_BASE_URL": "http://localhost:9/v1"}, "http://localhost:9"),
        ({"OPENAI_BASE_URL": "http://localhost:9/v1/"}, "http://localhost:9"),
        ({"OPENAI_BASE_URL": ""}, "https://api.openai.com"),
    ],
)
def test_a_provider_key_in_the_environment_is_a_pool(env: dict[str, str], endpoint: str) -> None:
    loaded = load(None, env={"OPENAI_API_KEY": "sk-1", **env})
    pool = loaded.pools[1]
    assert (pool.id, pool.engine, pool.endpoints) == ("openai", "openai", (endpoint,))
    assert pool.api_key is not None
    assert pool.api_key.reveal() == "sk-1"
    assert pool.discovers
    assert loaded.catalog.discovering


def test_each_provider_has_a_key_of_its_own_name() -> None:
    keys = {"OPENAI_API_KEY": "k1", "ANTHROPIC_API_KEY": "k2", "GEMINI_API_KEY": "k3"}
    other = {
        "ANTHROPIC_BASE_URL": "http://a.example/",
        "GOOGLE_GEMINI_BASE_URL": "http://g.example",
    }
    for env, endpoints in (
        ({}, ["https://api.anthropic.com", "https://generativelanguage.googleapis.com"]),
        (other, ["http://a.example", "http://g.example"]),
    ):
        pools = load(None, env={**keys, **env}).pools
        assert [(pool.id, pool.engine) for pool in pools[1:]] == [
            ("openai", "openai"),
            ("anthropic", "anthropic"),
            ("gemini", "gemini"),
        ]
        assert [pool.endpoints[0] for pool in pools[2:]] == endpoints
        assert [pool.api_key.reveal() for pool in pools[1:] if pool.api_key] == ["k1", "k2", "k3"]
    alone = load(None, env={"GEMINI_API_KEY": "k3"}).pools
    assert [pool.id for pool in alone] == ["sim", "gemini"]


def test_a_provider_key_is_not_used_beside_configured_pools(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, ONE_POOL, OPENAI_API_KEY="sk-1")
    assert [pool.id for pool in loaded.pools] == ["a"]
    assert len(load(None, env={"OPENAI_API_KEY": ""}).pools) == 1


@pytest.mark.req("SEC-3")
def test_a_wrong_provider_setting_is_named_without_its_value() -> None:
    with pytest.raises(ProblemsFound) as caught:
        load(None, env={"OPENAI_API_KEY": "sk 1", "OPENAI_BASE_URL": "ftp://u:p@h"})
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"OPENAI_API_KEY", "OPENAI_BASE_URL"}
    assert "sk 1" not in str(caught.value)
    assert "u:p" not in str(caught.value)


def test_the_example_is_yaml_for_everybody() -> None:
    """Editors and other tools read it as well: nothing in it may lean on Setpoint's own reading."""
    assert set(yaml.safe_load(EXAMPLE.read_text("utf-8"))) >= {
        "bind_addr",
        "auth",
        "pools",
        "models",
    }


@pytest.mark.req("SEC-3", "SEC-4")
def test_the_example_loads(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("web-token\n", encoding="utf-8")
    (tmp_path / "night").write_text("night-token", encoding="utf-8")
    env = {
        "SETPOINT_TOKEN": "operator-token",
        "OPENAI_API_KEY": "sk-openai",
        "SECRETS_DIR": str(tmp_path),
    }
    loaded = load(EXAMPLE, env=env)
    assert (loaded.host, loaded.port) == ("0.0.0.0", 8080)
    assert loaded.token is not None
    assert loaded.token.reveal() == "operator-token"
    assert [(c.name, c.token.reveal(), c.intent, c.weight) for c in loaded.callers] == [
        ("web", "web-token", "interactive", 1.0),
        ("nightly", "night-token", "batch", 0.5),
    ]
    local, cluster, openai = loaded.pools
    assert (local.max_inflight, local.endpoints) == (4, ("http://127.0.0.1:8081",))
    assert cluster.namespace == "prod"
    assert list(cluster.simulated) == ["Llama-3.3-70B", "Llama-3.1-8B"]
    assert openai.endpoints == ("https://api.openai.com",)
    assert openai.timeouts.total_s == 1800.0
    assert loaded.catalog.models["assistant"].upstream == "Llama-3.3-70B"
    assert loaded.catalog.routes["assistant"] == ("assistant", "assistant-small")
    assert loaded.catalog.keys == {"web", "nightly"}
    assert loaded.catalog.key_intents == {"web": "interactive", "nightly": "batch"}
    assert not loaded.catalog.open_keys
    assert [pool.discovers for pool in loaded.pools] == [False, False, True]
    assert loaded.policies_path == SHIPPED
    shown = f"{loaded!r} {loaded.config}"
    for secret in ("operator-token", "web-token", "night-token", "sk-openai"):
        assert secret not in shown
        assert loaded.redactor().redact(f"x {secret} y") == "x *** y"


def test_the_short_form_is_the_pool_default(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "adapter: {engine: llamacpp, endpoint: 'http://h:1/v1'}\n")
    (pool,) = loaded.pools
    assert (pool.id, pool.engine, pool.endpoints) == ("default", "llamacpp", ("http://h:1",))
    assert pool.discovers
    assert loaded.catalog.discovering
    assert loaded.catalog.models == {}
    assert loaded.catalog.routes == {}


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    "bind", ["0.0.0.0:80", "[::]:80", "192.168.1.2:80", "myhost:80", "127.1:80"]
)
def test_another_address_needs_a_token(tmp_path: Path, bind: str) -> None:
    (problem,) = problems(tmp_path, f"bind_addr: '{bind}'\n")
    assert problem == (
        "1:12: bind_addr: this address can be reached from elsewhere, and no token protects it"
        " (set auth.token or auth.keys, or bind to 127.0.0.1)"
    )
    for auth in ("token: abc", "keys: [{name: a, token: abc}]", "optional: true, token: abc"):
        load_text(tmp_path, f"bind_addr: '{bind}'\nauth: {{{auth}}}\n")
    assert problems(tmp_path, f"bind_addr: '{bind}'\nauth: {{optional: true}}\n")
    assert problems(tmp_path, f"bind_addr: '{bind}'\nauth: {{trust_proxy_auth: true}}\n")


@pytest.mark.req("SEC-1", "SEC-2")
@pytest.mark.parametrize("bind", ["0.0.0.0:80", "[::]:80", "myhost:80"])
def test_beyond_loopback_the_trusted_proxies_are_named(tmp_path: Path, bind: str) -> None:
    text = f"bind_addr: '{bind}'\nauth: {{token: abc, trust_proxy_auth: true%s}}\n"
    (problem,) = problems(tmp_path, text % "")
    assert problem == (
        "2:38: auth.trust_proxy_auth: this address can be reached from elsewhere, and nothing says "
        "which proxies there are trusted (list their addresses in auth.trusted_proxies, or bind to "
        "127.0.0.1)"
    )
    loaded = load_text(tmp_path, text % ", trusted_proxies: [10.0.0.7, 'fd00::/64']")
    assert [str(proxy) for proxy in loaded.proxies] == ["10.0.0.7/32", "fd00::/64"]


@pytest.mark.req("SEC-1", "SEC-2")
def test_naming_proxies_does_not_replace_a_token(tmp_path: Path) -> None:
    proxies = "auth: {trust_proxy_auth: true, trusted_proxies: [10.0.0.7]}\n"
    (problem,) = problems(tmp_path, f"bind_addr: 0.0.0.0:80\n{proxies}")
    assert "no token protects it" in problem


@pytest.mark.req("SEC-2")
def test_on_loopback_only_a_proxy_on_this_machine_is_trusted(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "auth: {trust_proxy_auth: true}\n")
    assert [str(proxy) for proxy in loaded.proxies] == ["127.0.0.0/8", "::1/128"]


@pytest.mark.req("SEC-2", "SEC-4")
@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ("trust_proxy_auth: true, trusted_proxies: []", "trusted_proxies: a proxy is trusted, and"),
        ("trusted_proxies: [proxy.example.com]", "trusted_proxies[0]: not an address, and not"),
        (
            "trusted_proxies: [10.0.0.7, 10.0.0.7/24]",
            "trusted_proxies[1]: an address within a netw",
        ),
        ("trusted_proxies: [0.0.0.0/0]", "trusted_proxies[0]: this is every address"),
        ("trusted_proxies: ['::/0']", "trusted_proxies[0]: this is every address"),
        ("trusted_proxies: ['::ffff:0.0.0.0/96']", "trusted_proxies[0]: this is every address"),
        ("trusted_proxies: 10.0.0.7", "trusted_proxies: "),
        ("proxy_user_header: 'x-user: y'", "proxy_user_header: "),
        ("optional: true, trust_proxy_auth: true", "optional: whoever comes through the proxy on"),
        (
            "optional: true, trust_proxy_auth: true, trusted_proxies: [10.0.0.7, 127.0.0.2]",
            "optional: whoever comes through the proxy on",
        ),
        (
            "keys: [{name: operator, token: x1}]",
            "keys[0].name: this is what the holder of auth.token",
        ),
    ],
)
def test_an_auth_that_would_let_the_wrong_ones_in_does_not_start(
    tmp_path: Path, auth: str, said: str
) -> None:
    (problem,) = problems(tmp_path, f"auth: {{token: abc, {auth}}}\n")
    assert f": auth.{said}" in problem


@pytest.mark.req("SEC-2")
def test_who_may_skip_the_token_may_have_a_proxy_elsewhere(tmp_path: Path) -> None:
    load_text(
        tmp_path, "auth: {optional: true, trust_proxy_auth: true, trusted_proxies: [10.0.0.7]}\n"
    )


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "localhost:1", "[::1]:65535", "127.8.9.1:80"])
def test_loopback_needs_none(tmp_path: Path, bind: str) -> None:
    loaded = load_text(tmp_path, f"bind_addr: '{bind}'\n")
    assert f"{loaded.host}:{loaded.port}" == bind.replace("[", "").replace("]", "")


@pytest.mark.req("SEC-1")
def test_an_empty_token_protects_nothing(tmp_path: Path) -> None:
    text = "bind_addr: 0.0.0.0:80\nauth: {token: '${TOKEN}'}\n"
    assert problems(tmp_path, text, TOKEN="") == [
        "2:15: auth.token: empty (leave the field out, or give it a value)"
    ]
    (problem,) = problems(tmp_path, text)
    assert "the environment variable TOKEN is not set" in problem


@pytest.mark.req("SEC-3", "SEC-4")
def test_a_secret_file_that_cannot_serve_is_a_problem_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "long").write_text("x" * 70_000, encoding="utf-8")
    (tmp_path / "two").write_text("top-secret\nsecond\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    text = "auth:\n  keys:\n" + "".join(
        f'    - {{name: {name}, token: {{file: "{file}"}}}}\n'
        for name, file in [
            ("a", "missing"),
            ("b", "empty"),
            ("c", "long"),
            ("d", "two"),
            ("e", "binary"),
            ("f", "."),
            ("g", "a\\0b"),
        ]
    )
    found = problems(tmp_path, text)
    assert [problem.split(": ", 2)[:2] for problem in found] == [
        ["3:31", "auth.keys[0].token.file"],
        ["4:31", "auth.keys[1].token.file"],
        ["5:31", "auth.keys[2].token.file"],
        ["6:24", "auth.keys[3].token"],
        ["7:24", "auth.keys[4].token"],
        ["8:31", "auth.keys[5].token.file"],
        ["9:31", "auth.keys[6].token.file"],
    ]
    assert "top-secret" not in "".join(found)
    assert found[0].endswith("the secret file cannot be read: No such file or directory")


@pytest.mark.req("SEC-2", "SEC-3")
def test_tokens_differ_and_are_not_shown(tmp_path: Path) -> None:
    text = (
        "auth:\n  token: tok-1\n  keys:\n"
        "    - {name: a, token: tok-1}\n    - {name: b, token: tok-2}\n    - {name: c, token: tok-2}\n"
        "    - {name: d, token: 'tok 3'}\n"
    )
    assert problems(tmp_path, text) == [
        "4:24: auth.keys[0].token: the same token as auth.token",
        "6:24: auth.keys[2].token: the same token as key 'b'",
        "7:24: auth.keys[3].token: a secret travels in a header: printable ASCII without blanks only",
    ]


@pytest.mark.req("ADM-6")
def test_a_caller_has_its_own_budget_none_or_the_default(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        """
auth:
  default_budget: [{requests: 60, per: 1m}]
  keys:
    - {name: a, token: x, budget: [{tokens: 1000, per: 1h}, {cost: 2.50 USD, per: day}]}
    - {name: b, token: y, budget: []}
    - {name: c, token: z}
""",
    )
    own, empty, default = (caller.budget for caller in loaded.callers)
    assert own is not None
    assert [(e.tokens, e.cost, e.per, e.per.calendar_day) for e in own] == [
        (1000, None, 3600, False),
        (None, 2.5, 86_400, True),
    ]
    assert (empty, default) == ((), None)
    assert loaded.config.auth.default_budget[0].requests == 60


@pytest.mark.req("ADM-6", "SEC-4")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{per: 1m}", "[1]: exactly one of requests, tokens and cost is needed"),
        ("{requests: 1, tokens: 1, per: 1m}", "[1]: exactly one of requests, tokens and cost"),
        ("{requests: 1}", "[1]: the field 'per' is missing"),
        ("{requests: 1, per: 999ms}", "[1].per: must be from 1s to 31d"),
        ("{requests: 1, per: 32d}", "[1].per: must be from 1s to 31d"),
        ("{requests: 1, per: 0}", "[1].per: must be more than zero"),
        ("{cost: 0, per: day}", "[1].cost: must be more than zero"),
        ("{requests: 5, per: 60s}", "[1]: a second limit of requests for the same time"),
    ],
)
def test_a_limit_that_says_nothing_clear_is_named_at_its_place(
    tmp_path: Path, entry: str, said: str
) -> None:
    budget = f"[{{requests: 60, per: 1m}}, {entry}]"
    for auth, path in (
        (f"default_budget: {budget}", "auth.default_budget"),
        (f"keys: [{{name: a, token: x, budget: {budget}}}]", "auth.keys[0].budget"),
    ):
        (problem,) = problems(tmp_path, f"auth: {{{auth}}}\n")
        assert f"{path}{said}" in problem


@pytest.mark.req("ADM-6")
def test_24_hours_and_the_calendar_day_are_two_limits(tmp_path: Path) -> None:
    budget = "[{requests: 5, per: day}, {requests: 5, per: 1d}]"
    assert load_text(tmp_path, f"auth: {{default_budget: {budget}}}\n")


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bind_addr: 127.0.0.1:70000", "1:12: bind_addr: the port 70000 is above 65535"),
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
            ONE_POOL + "models: [{name: m, pool: b}]",
            "2:26: models[0].pool: there is no pool 'b' (known: a)",
        ),
        (
            "models: [{name: m, pool: simm}]",
            "1:26: models[0].pool: there is no pool 'simm' (did you mean 'sim'?)",
        ),
        (
            ONE_POOL + "models: [{name: m, pool: a}, {name: m, pool: a}]",
            "2:37: models[1].name: 'm' is given twice",
        ),
        (
            ONE_POOL + "models: [{name: model, pool: a}]\nroutes: {x: [modle]}",
            "3:14: routes.x[0]: there is no model 'modle' (did you mean 'model'?)",
        ),
        (
            ONE_POOL + "models: [{name: m, pool: a}]\nroutes: {m: [m, m]}",
            "3:17: routes.m[1]: 'm' is tried twice",
        ),
        ("routes: {m: []}", "1:13: routes.m: an empty route"),
        ("routes: {m: {targets: []}}", "1:23: routes.m.targets: an empty route"),
        (
            ONE_POOL + "models: [{name: m, pool: a}]\nroutes: {m: {targets: [m, b]}}",
            "3:27: routes.m.targets[1]: there is no model 'b' (known: m)",
        ),
        (
            "routes: {m: {targets: [assistant], resume: maybe}}",
            "1:44: routes.m.resume: expected one of continue, off, replay",
        ),
        (
            "routes: {m: {targets: [assistant], hedge: {after: 0}}}",
            "1:51: routes.m.hedge.after: must be more than zero",
        ),
        (
            "routes: {m: {targets: [assistant], hedge: {after: 1s, budget: 2}}}",
            "1:63: routes.m.hedge.budget: expected a share such as 1% or 0.01, at most 100%, got 2",
        ),
        ("routes: {m: {resume: off}}", "1:13: routes.m: the field 'targets' is missing"),
        ("routes: {m: assistant}", "1:13: routes.m: expected a list or a mapping, got text"),
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
        ("policies: nowhere/", "1:11: policies: no such file or folder"),
        ('policies: "a\\0b"', "1:11: policies: no such file or folder"),
        ("limits: {body: 0}", "1:16: limits.body: must be more than zero"),
        (
            "pools: [{id: a, engine: openai, timeouts: {idle: 0s}}]",
            "1:50: pools[0].timeouts.idle: must be more than zero",
        ),
        (
            "auth: {keys: [{name: a, token: x1}, {name: a, token: x2}]}",
            "1:44: auth.keys[1].name: 'a' is given twice",
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
            "logging: {file: a.jsonl, decisions: ./a.jsonl}",
            "1:37: logging.decisions: the same file as logging.file",
        ),
        (
            "pools: [{id: a, engine: llmd, simulate: {inter_token_latency: 0}}]\n"
            "models: [{name: m, pool: a}]",
            "1:63: pools[0].simulate.inter_token_latency: must be more than zero",
        ),
        (
            "models: [{name: m, pool: sim, simulate: {prefill_overhead: 2d}}]",
            "1:60: models[0].simulate.prefill_overhead: must be at most 1d",
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
        ("bind_adr: x", "1:1: unknown field 'bind_adr' (did you mean 'bind_addr'?)"),
    ],
)
def test_a_part_that_does_not_fit_is_named_at_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.req("SEC-4")
def test_every_problem_is_found_at_once(tmp_path: Path) -> None:
    text = (
        "bind_addr: 0.0.0.0:80\n"
        "pools: [{id: a, engine: vllm}, {id: a, engine: openai}]\n"
        "models: [{name: m, pool: b}]\n"
        "policies: nowhere\n"
    )
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == [
        "bind_addr",
        "pools[0]",
        "pools[1].id",
        "models[0].pool",
        "policies",
    ]


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "auth: {token: {file: /nonexist}}\nmodels: [{name: a, pool: simm}]\ndrain_timeout: 5x",
            ["auth.token.file", "models[0].pool", "drain_timeout"],
        ),
        (
            "models: [{name: a, pool: simm}]\nroutes: {a: [a, b]}",
            ["models[0].pool", "routes.a[1]"],
        ),
        (
            "pools: [{id: a, engine: vlm}, {id: b, engine: vllm, retries: x}, {id: a, engine: openai}]\n"
            "models: [{name: m, pool: c}]",
            ["pools[0].engine", "pools[1]", "pools[1].retries", "pools[2].id", "models[0].pool"],
        ),
        (
            "auth: {keys: [{name: a, token: ''}, {name: b, token: x}, {name: c, token: x}]}\n"
            "limits: {body: lots}",
            ["auth.keys[0].token", "auth.keys[2].token", "limits.body"],
        ),
    ],
)
def test_a_wrong_field_hides_no_problem_between_others(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "bind_addr: 0.0.0.0:80\nauht: {token: x1}",
        "bind_addr: 0.0.0.0:80\nauth: {token: [x1]}",
        "pool: [{id: a, engine: openai}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: 'a b', engine: openai}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: a, engine: vllm, endpont: 'http://x'}]",
        "pools: [{id: a, engine: vlm}]",
        "pools: [{id: a, engine: embeded, endpoint: 'http://x'}]",
        "models: [{name: 'm n', pool: sim}]\nroutes: {x: [mn]}",
        "models: 5\nroutes: {x: [m]}",
        "routes: {x: ['a b']}",
        "polices: nowhere",
        "pools: [{id: a, engine: vllm, simulat: {}}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: a, engine: vllm, simulate: {replicas: 0}}]\nmodels: [{name: m, pool: a}]",
        "pools: [{id: a, engine: vllm, endpont: 'http://x'}]\nmodels: [{name: m, pool: a}, "
        "{name: n, pool: a, simulate: {}}]",
        "pools: [{id: a, engine: vllm}]\nmodels: [{name: m, pool: a, simulate: {replica: 2}}]",
        "pools: [{id: a, engine: vllm}]\nmodels: [{name: m, pool: 'a b', simulate: {}}]",
        "pools: [{id: a, engine: vllm, simulate: {}}]\nmodels: [{name: m, pool: [a]}]",
        "pools: [{id: a, engine: vlm, inference_ttl: true}]",
        "logging: {file: [a], decisions: a}",
    ],
)
def test_one_mistake_is_one_problem(tmp_path: Path, text: str) -> None:
    """What a slip may have hidden is not missed a second time."""
    assert len(problems(tmp_path, text)) == 1


def test_with_an_unread_pool_to_spare_a_route_may_still_be_discovered(tmp_path: Path) -> None:
    pools = "pools: [{id: a, engine: openai}, {id: b, engine: openai}]\n"
    text = f"{pools}models: [{{name: m, pool: c}}]\nroutes: {{m: [x]}}"
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == ["models[0].pool"]


@given(text=st.text(alphabet="abekmnop{}[]:, 5'\n", max_size=60))
def test_check_never_fails_on_what_it_cannot_read(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(f"auth: {{keys: [{{name: a, {text}}}]}}\nmodels: [{{{text}}}]\npools: [{text}]")
    with contextlib.suppress(ProblemsFound):
        load(file, env={})


def test_the_built_in_models_have_the_context_that_the_simulator_serves() -> None:
    cards = load(None, env={}).catalog.models.values()
    assert {card.context for card in cards} == {LlmdSettings().max_model_len} == {32_768}


@pytest.mark.req("INT-8")
def test_what_a_backend_can_be_told_is_the_pools_to_say(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "pools:\n"
        "  - {id: a, engine: llmd, endpoint: 'http://x', metrics: 'http://epp:9090/metrics',\n"
        "     inference_ttl: true, priority_scheduling: true}\n"
        "  - {id: b, engine: vllm, endpoint: 'http://x'}\n",
    )
    a, b = loaded.pools
    assert (a.metrics, a.inference_ttl, a.priority_scheduling) == (
        "http://epp:9090/metrics",
        True,
        True,
    )
    assert (b.metrics, b.inference_ttl, b.priority_scheduling) == (None, False, False)
    assert (a.simulated, b.simulated) == ({}, {})


@pytest.mark.req("INT-4")
def test_who_is_asked_for_its_load_unless_the_pool_says_otherwise(tmp_path: Path) -> None:
    here = "endpoint: 'http://x'"
    loaded = load_text(
        tmp_path,
        f"pools:\n"
        f"  - {{id: a, engine: vllm, {here}}}\n"
        f"  - {{id: b, engine: tgi, {here}}}\n"
        f"  - {{id: c, engine: llamacpp, {here}}}\n"
        f"  - {{id: d, engine: llmd, {here}}}\n"
        f"  - {{id: e, engine: vllm, {here}, load_metrics: false}}\n"
        f"  - {{id: f, engine: llamacpp, {here}, load_metrics: true}}\n",
    )
    asked = {pool.id: pool.load_metrics for pool in loaded.pools}
    assert asked == {"a": True, "b": True, "c": False, "d": False, "e": False, "f": True}


@pytest.mark.req("ENG-3")
def test_an_engine_is_tested_where_that_costs_nothing_or_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    text = """
pools:
  - {id: a, engine: llamacpp, endpoint: http://127.0.0.1:1}
  - {id: b, engine: llamacpp, endpoint: http://127.0.0.1:2, self_test: false}
  - {id: c, engine: vllm, endpoint: http://127.0.0.1:3}
  - {id: d, engine: llmd, endpoint: http://127.0.0.1:4}
  - {id: e, engine: embedded}
  - {id: f, engine: openai, api_key: key-of-openai}
  - {id: g, engine: openai, endpoint: http://127.0.0.1:5, self_test: true}
  - {id: h, engine: anthropic, api_key: key-of-anthropic}
"""
    tested = [pool.id for pool in load_text(tmp_path, text).pools if pool.self_test]
    assert tested == ["a", "c", "d", "e", "g"]


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


@pytest.mark.req("INT-8")
def test_models_of_the_short_form_and_of_the_built_in_pool_may_be_described(
    tmp_path: Path,
) -> None:
    models = "models: [{name: m, pool: %s, simulate: {replicas: 3}}]\n"
    (short,) = load_text(tmp_path, "adapter: {engine: vllm}\n" + models % "default").pools
    assert (short.endpoints, short.simulated["m"].replicas) == ((), 3)
    (built_in,) = load_text(tmp_path, models % "sim").pools
    assert (built_in.engine, built_in.simulated["m"].replicas) == ("embedded", 3)
    assert load(None, env={}).pools[0].simulated == {}


def test_a_route_may_name_what_a_pool_may_yet_list(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, ONE_POOL + "routes: {x: [unknown]}\n")
    assert loaded.catalog.discovering
    assert loaded.catalog.routes == {"x": ("unknown",)}


def test_a_trusted_proxy_may_name_any_caller(tmp_path: Path) -> None:
    assert load_text(tmp_path, "auth: {trust_proxy_auth: true}\n").catalog.open_keys


def test_a_linked_file_keeps_the_folder_it_was_named_in(tmp_path: Path) -> None:
    """A ConfigMap's files are links into a folder that its next update removes."""
    for name in ("data", "mounted"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "real.yaml").write_text("drain_timeout: 1s\n", encoding="utf-8")
    (tmp_path / "mounted" / "setpoint.yaml").symlink_to(tmp_path / "data" / "real.yaml")
    loaded = load(tmp_path / "mounted" / "setpoint.yaml", env={})
    assert loaded.base_dir == tmp_path / "mounted"


def test_no_drain_and_no_waiting_may_be_asked_for(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "drain_timeout: 0s\n"
        "pools: [{id: a, engine: openai, queue: {timeout: 0, max_requests: 0}}]\n",
    )
    assert loaded.pools[0].queue_timeout_s == 0
    assert loaded.pools[0].max_waiting == 0


def test_paths_start_from_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "ca.pem").touch()
    loaded = load_text(
        tmp_path,
        "policies: rules\nlogging: {file: out.log, decisions: log/../decisions.jsonl}\n"
        "pools: [{id: a, engine: openai, ca_file: ca.pem}]\n",
    )
    assert loaded.base_dir == tmp_path
    assert loaded.policies_path == tmp_path / "rules"
    assert loaded.log_file == tmp_path / "out.log"
    assert loaded.decisions_file == tmp_path / "log" / ".." / "decisions.jsonl"
    assert load(None, env={}).decisions_file is None
    assert loaded.pools[0].ca_file == tmp_path / "ca.pem"


@pytest.mark.req("SEC-4")
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound, match=r"none\.yaml:1:1: No such file or directory"):
        load(tmp_path / "none.yaml", env={})
    with pytest.raises(ProblemsFound, match="Is a directory"):
        load(tmp_path, env={})
    (tmp_path / "latin.yaml").write_bytes(b"# ok\n# caf\xe9\n")
    with pytest.raises(ProblemsFound, match=r"latin\.yaml:2:6: this is not UTF-8"):
        load(tmp_path / "latin.yaml", env={})


# -- records


def test_a_url_is_short_for_the_mapping_of_records(tmp_path: Path) -> None:
    short = load_text(tmp_path, "records: sqlite:///var/setpoint.db").records
    assert short == load_text(tmp_path, "records: {url: 'sqlite:///var/setpoint.db'}").records
    assert short is not None
    assert short.database.file == tmp_path / "var" / "setpoint.db"
    assert short.spill == tmp_path / "setpoint-records.spill.jsonl"
    assert (short.bodies, short.keep_s, short.max_bytes) == (False, 30 * 86400, 2**30)
    assert load(None, env={}).records is None


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    "text",
    [
        "records: postgresql://web:${PASSWORD}@db/setpoint",
        "records: postgresql://web:hunter22@db/setpoint",
        "records: {url: 'postgresql://web:${PASSWORD}@db/setpoint'}",
        "records: {url: {file: url}}",
    ],
)
def test_the_password_of_the_records_shows_nowhere(tmp_path: Path, text: str) -> None:
    (tmp_path / "url").write_text("postgresql://web:hunter22@db/setpoint\n")
    loaded = load_text(tmp_path, text, PASSWORD="hunter22")
    assert loaded.records is not None
    assert loaded.records.database.url.reveal() == "postgresql://web:hunter22@db/setpoint"
    assert "hunter22" not in repr(loaded)
    assert loaded.redactor().redact("x hunter22 y") == "x *** y"


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("text", ["records: {}", "records: {{url: {}}}"])
def test_a_url_of_no_database_is_a_problem_that_does_not_quote_it(
    tmp_path: Path, text: str
) -> None:
    (found,) = problems(tmp_path, text.format("'mysql://web:hunter22@db/setpoint'"))
    assert "expected sqlite:///path/to/file.db or postgresql://" in found
    assert "hunter22" not in found


def test_durable_tasks_need_records(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "tasks: {durable: true}")
    assert "tasks.durable: durable tasks are kept in the records database" in found
    assert load_text(tmp_path, "tasks: {durable: true}\nrecords: sqlite:///a.db").records


# -- telemetry

TELEMETRY = (
    "telemetry: {otlp: 'https://otlp.test/base/', headers: {authorization: 'Basic ${KEY}'},"
    " sample: 5%, traceparent: true}"
)


def test_where_telemetry_goes(tmp_path: Path) -> None:
    assert load(None, env={}).telemetry is None
    spec = load_text(tmp_path, TELEMETRY, KEY="c2VjcmV0LXo=").telemetry
    assert spec is not None
    assert (spec.otlp, spec.sample, spec.traceparent) == ("https://otlp.test/base", 0.05, True)
    ((name, value),) = spec.headers
    assert (name, value.reveal()) == ("authorization", "Basic c2VjcmV0LXo=")


@pytest.mark.req("SEC-3")
def test_what_the_collector_is_shown_shows_nowhere_else(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, TELEMETRY, KEY="c2VjcmV0LXo=")
    assert "c2VjcmV0" not in repr(loaded)
    assert loaded.redactor().redact("got c2VjcmV0LXo= and Basic c2VjcmV0LXo=").count("***") >= 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "telemetry: the field 'otlp' is missing"),
        ("{otlp: 'http://me:pw@x'}", "telemetry.otlp: a URL with credentials would show in logs; use headers"),
        ("{otlp: 'http://x', headers: {'a b': x}}", "telemetry.headers"),
        ("{otlp: 'http://x', headers: {a: ''}}", "telemetry.headers.a: empty"),
        ('{otlp: "http://x", headers: {a: "x\\ty"}}', "telemetry.headers.a: a secret travels in a header"),
        ("{otlp: 'http://x', sample: 2}", "telemetry.sample"),
    ],
)  # fmt: skip
def test_telemetry_that_cannot_be_sent_is_a_problem(
    tmp_path: Path, text: str, problem: str
) -> None:
    (found,) = problems(tmp_path, f"telemetry: {text}")
    assert problem in found


@pytest.mark.req("SEC-4")
def test_telemetry_without_its_packages_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    assert problems(tmp_path, "telemetry: {otlp: 'http://127.0.0.1:4318'}") == [
        "1:12: telemetry: traces and metrics by OTLP need packages that are not installed"
        " (pip install 'setpoint[otel]', or leave telemetry out)"
    ]
    assert load_text(tmp_path, "").telemetry is None


def test_a_gateway_without_telemetry_does_not_import_opentelemetry() -> None:
    script = (
        "import asyncio, sys\n"
        "from gateway.configuration import load\n"
        "from gateway.runtime import Gateway\n"
        "import gateway.serve\n"
        "async def main():\n"
        "    gateway = Gateway(load(None, env={}))\n"
        "    assert gateway.telemetry is None\n"
        "    await gateway.aclose()\n"
        "asyncio.run(main())\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'google.protobuf', 'requests'))])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told == "[]\n"


def test_reading_a_configuration_with_records_does_not_import_the_database(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("records: sqlite:///a.db")
    script = (
        "import sys; from pathlib import Path; from gateway.configuration import load\n"
        f"load(Path({str(tmp_path / 'setpoint.yaml')!r}), env={{}})\n"
        "print([m for m in ('sqlalchemy', 'alembic', 'asyncpg', 'aiosqlite') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told == "[]\n"


@given(url=st.text() | st.builds("http://{}".format, st.text()))
def test_any_text_is_an_endpoint_or_is_not(url: str) -> None:
    assert isinstance(endpoint_fault(url), str)
    assert normal_endpoint(normal_endpoint(url)) == normal_endpoint(url) or "/v1" in url


@given(host=st.text())
def test_any_text_is_loopback_or_is_not(host: str) -> None:
    assert is_loopback(host) in (True, False)


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


@pytest.mark.req("RUN-5", "RUN-7")
def test_a_pool_says_how_often_to_repeat_and_when_to_leave_an_endpoint_alone(
    tmp_path: Path,
) -> None:
    said = "retry_budget: 5%, breaker: {failures: 3, window: 1m, cooldown: 2s}, "
    loaded = load_text(tmp_path, POOL % (said + "timeouts: {min_tokens_per_s: 2.5}"))
    (pool,) = loaded.pools
    assert pool.retry_budget == 0.05
    assert pool.breaker == BreakerSettings(failures=3, window_s=60, cooldown_s=2)
    assert pool.timeouts.min_tokens_per_s == 2.5
    (plain,) = load_text(tmp_path, ONE_POOL).pools
    assert (plain.retry_budget, plain.breaker) == (0.2, BreakerSettings())
    assert plain.timeouts.min_tokens_per_s is None


@pytest.mark.req("RUN-7")
def test_a_list_is_short_for_the_targets_of_a_route(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "routes: {a: [assistant], b: {targets: [assistant, assistant-small], resume: continue, "
        "hedge: {after: 2s, budget: 5%}}, c: {targets: [assistant]}}",
    )
    assert loaded.catalog.routes == {
        "a": ("assistant",),
        "b": ("assistant", "assistant-small"),
        "c": ("assistant",),
    }
    assert loaded.catalog.route_options == {
        "b": RouteOptions(resume="continue", hedge_after_s=2.0, hedge_budget=0.05),
        "c": RouteOptions(),
    }


@pytest.mark.req("RUN-7")
@pytest.mark.parametrize(
    ("engine", "said", "able"),
    [
        ("llamacpp", "", True),
        ("vllm", "", True),
        ("llmd", "", True),
        ("openai", "", False),
        ("anthropic", "", False),
        ("openai", ", prefill: true", True),
        ("llamacpp", ", prefill: false", False),
    ],
)
def test_who_continues_a_begun_answer_is_known_by_engine_or_said(
    tmp_path: Path, engine: str, said: str, able: bool
) -> None:
    loaded = load_text(
        tmp_path,
        f"pools: [{{id: a, engine: {engine}, endpoint: 'http://127.0.0.1:1'}}]\n"
        f"models: [{{name: m, pool: a{said}}}]",
    )
    assert loaded.catalog.models["m"].prefill is able


@pytest.mark.req("RUN-7")
def test_a_price_of_cached_prompts_may_be_known(tmp_path: Path) -> None:
    text = ONE_POOL + "models: [{name: m, pool: a, price: {input: 1, output: 2%s}}]"
    known = load_text(tmp_path, text % ", cached_input: 0.10 USD").catalog.models["m"]
    assert (known.input_price, known.output_price, known.cached_input_price) == (1.0, 2.0, 0.1)
    assert load_text(tmp_path, text % "").catalog.models["m"].cached_input_price is None


@pytest.mark.req("ADM-1")
def test_a_task_that_says_nothing_waits_no_longer_than_one_may_that_does(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "tasks: {ttl: 2h, max_ttl: 1h}")
    assert told.startswith("1:14: tasks.ttl: a task that says nothing would wait longer")
    assert "(at most tasks.max_ttl, 3600s)" in told
    assert load_text(tmp_path, "tasks: {ttl: 1h, max_ttl: 1h}").config.tasks.ttl == 3600.0
    assert problems(tmp_path, "tasks: {ttl: 0s}") == ["1:14: tasks.ttl: must be more than zero"]
