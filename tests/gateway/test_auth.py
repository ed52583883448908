"""Who may call: every way to present a token, and every way to have none."""

from collections.abc import Awaitable, Callable

import pytest
from multidict import CIMultiDict

from contracts.errors import Forbidden, MissingToken, WrongToken
from gateway.auth import Authenticator, AuthRules, Caller
from tests.fakes.edge import Edge, chat_body
from tests.fakes.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.req("SEC-2")
MakeEdge = Callable[..., Awaitable[Edge]]
OPERATOR, WEB = "operator-token-1", "web-token-1"
TOKENS = AuthRules(operator_token=OPERATOR, callers=((WEB, Caller(name="web")),))
LOCAL, REMOTE = "127.0.0.1", "203.0.113.9"


def ask(rules: AuthRules, remote: str | None = REMOTE, **headers: str) -> Caller:
    named = CIMultiDict((k.replace("_", "-"), v) for k, v in headers.items())
    return Authenticator(rules).caller(named, remote)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer any"}, {"authorization": "Basic any"}]
)
def test_without_tokens_everyone_is_the_operator(headers: dict[str, str]) -> None:
    assert ask(AuthRules(), **headers).operator


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": f"Bearer {WEB}"},
        {"authorization": f"bearer   {WEB} "},
        {"AUTHORIZATION": f"BEARER {WEB}"},
        {"x_api_key": WEB},
    ],
)
def test_a_known_token_names_its_caller(header: dict[str, str]) -> None:
    assert ask(TOKENS, **header) == Caller(name="web")


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, {"authorization": "Bearer "}, {"x_api_key": ""}],
)
def test_no_token_is_a_401(headers: dict[str, str]) -> None:
    with pytest.raises(MissingToken) as caught:
        ask(TOKENS, **headers)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {WEB}x"},
        {"authorization": f"Bearer {WEB[:-1]}"},
        {"authorization": f"Basic {WEB}"},
        {"authorization": WEB},
        {"authorization": "Bearer \udcff\udcfe"},
        {"x_api_key": "wrong"},
        {"authorization": "Bearer wrong", "x_api_key": WEB},
    ],
)
def test_a_wrong_token_is_a_403(headers: dict[str, str]) -> None:
    with pytest.raises(WrongToken) as caught:
        ask(TOKENS, **headers)
    assert caught.value.status == 403
    assert WEB not in str(caught.value)


@pytest.mark.parametrize("remote", [LOCAL, "::1", "::ffff:127.0.0.1", "127.0.0.2"])
def test_loopback_may_come_without_a_token_where_that_is_allowed(remote: str) -> None:
    optional = AuthRules(operator_token=OPERATOR, loopback_optional=True)
    assert ask(optional, remote).operator
    with pytest.raises(WrongToken):
        ask(optional, remote, authorization="Bearer wrong")


@pytest.mark.parametrize("remote", [REMOTE, "10.0.0.1", "::ffff:10.0.0.1", "", None, "nonsense"])
def test_others_may_not(remote: str | None) -> None:
    with pytest.raises(MissingToken):
        ask(AuthRules(operator_token=OPERATOR, loopback_optional=True), remote)


PROXIED = AuthRules(
    operator_token=OPERATOR,
    callers=((WEB, Caller(name="web")),),
    proxy_user_header="x-forwarded-user",
)


def test_a_trusted_proxy_names_the_caller() -> None:
    assert ask(PROXIED, x_forwarded_user="alice") == Caller(name="alice")
    assert ask(PROXIED, x_forwarded_user="operator") == Caller(name="operator", operator=False)
    assert len(ask(PROXIED, x_forwarded_user="a" * 500).name) == 128


def test_a_token_that_only_the_proxy_knows_does_not_disturb_it() -> None:
    assert ask(PROXIED, x_forwarded_user="alice", authorization="Bearer its-own").name == "alice"
    assert ask(PROXIED, x_forwarded_user="alice", authorization=f"Bearer {OPERATOR}").operator


def test_behind_a_proxy_a_request_without_a_name_needs_a_token() -> None:
    with pytest.raises(MissingToken):
        ask(PROXIED)
    with pytest.raises(WrongToken):
        ask(PROXIED, authorization="Bearer wrong")
    with pytest.raises(WrongToken):
        ask(PROXIED, x_forwarded_user="al\udcffice")


def test_a_proxys_header_means_nothing_where_no_proxy_is_trusted() -> None:
    with pytest.raises(MissingToken):
        ask(TOKENS, x_forwarded_user="alice")


def test_only_the_operator_may_administer() -> None:
    auth = Authenticator(TOKENS)
    assert auth.operator(CIMultiDict(authorization=f"Bearer {OPERATOR}"), REMOTE).operator
    with pytest.raises(Forbidden):
        auth.operator(CIMultiDict(authorization=f"Bearer {WEB}"), REMOTE)


def test_no_token_is_kept_in_clear() -> None:
    assert WEB not in repr(vars(Authenticator(TOKENS)))


# -- at the edge --------------------------------------------------------------------------

GUARDED = f"auth: {{token: {OPERATOR}, keys: [{{name: web, token: {WEB}}}]}}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/served"),
        ("GET", "/metrics"),
        ("POST", "/admin/reload"),
    ],
)
async def test_a_guarded_path_says_401_or_403(
    make_edge: MakeEdge, engine: ScriptedEngine, method: str, path: str
) -> None:
    edge = await make_edge(GUARDED)
    missing = await edge.ask(method, path, chat_body() if method == "POST" else None)
    assert (missing.status, missing.error["code"]) == (401, "missing_token")
    assert missing.error["type"] == "authentication_error"
    assert missing.headers["www-authenticate"].startswith("Bearer ")
    wrong = await edge.ask(method, path, authorization="Bearer sk-wrong-0123456789")
    assert (wrong.status, wrong.error["code"]) == (403, "invalid_api_key")
    assert "www-authenticate" not in wrong.headers
    assert b"sk-wrong" not in wrong.body
    assert engine.asked == []


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
async def test_health_is_open(make_edge: MakeEdge, path: str) -> None:
    edge = await make_edge(GUARDED)
    assert (await edge.ask("GET", path)).status == 200


async def test_reload_is_the_operators(make_edge: MakeEdge) -> None:
    edge = await make_edge(GUARDED)
    refused = await edge.ask("POST", "/admin/reload", authorization=f"Bearer {WEB}")
    assert (refused.status, refused.error["code"]) == (403, "operator_only")
    done = await edge.ask("POST", "/admin/reload", authorization=f"Bearer {OPERATOR}")
    assert done.status == 200


async def test_a_callers_name_reaches_the_rules(make_edge: MakeEdge) -> None:
    edge = await make_edge(
        GUARDED,
        policies="rules: [{name: web is short, when: request.key == 'web', then: {max_tokens: 3}}]",
    )
    for token, short in ((WEB, True), (OPERATOR, False)):
        answer = await edge.ask(
            "POST", "/v1/chat/completions", chat_body(), authorization=f"Bearer {token}"
        )
        assert answer.status == 200
        assert ("web is short" in answer.headers["x-setpoint-decision"]) == short
