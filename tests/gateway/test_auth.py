"""Who may call: every way to present a token, and every way to have none."""

from collections.abc import Awaitable, Callable

import pytest
from multidict import CIMultiDict

from contracts.errors import (
    Forbidden,
    GatewayError,
    InvalidProxyUser,
    MalformedAuthorization,
    MissingToken,
    WrongToken,
)
from gateway import auth
from gateway.addresses import network
from gateway.auth import (
    NAME_MAX_CHARS,
    SPELLINGS_KEPT,
    STRANGERS_TOLD,
    Authenticator,
    AuthRules,
    Caller,
)
from tests.fakes.edge import Edge, chat_body
from tests.fakes.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.req("SEC-2")
MakeEdge = Callable[..., Awaitable[Edge]]
OPERATOR, WEB = "operator-token-1", "web-token-1"
TOKENS = AuthRules(operator_token=OPERATOR, callers=((WEB, Caller(name="web")),))
LOCAL, REMOTE = "127.0.0.1", "203.0.113.9"


def ask(rules: AuthRules, remote: str | None = REMOTE, **headers: str) -> Caller:
    named = CIMultiDict((k.replace("_", "-"), v) for k, v in headers.items())
    return Authenticator(rules).visitor(named, remote).caller


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


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", f"Basic {WEB}")],
        [("authorization", WEB)],
        [("authorization", f"Basic {WEB}"), ("x-api-key", WEB)],
        [("authorization", f"Bearer {WEB}"), ("authorization", f"Bearer {WEB}")],
        [("x-api-key", WEB), ("x-api-key", "wrong")],
    ],
)
@pytest.mark.parametrize(
    "rules", [TOKENS, AuthRules(operator_token=OPERATOR, loopback_optional=True)]
)
def test_what_no_token_can_be_read_from_is_a_401(
    rules: AuthRules, headers: list[tuple[str, str]]
) -> None:
    with pytest.raises(MalformedAuthorization) as caught:
        Authenticator(rules).visitor(CIMultiDict(headers), LOCAL)
    assert (caught.value.status, caught.value.code) == (401, "malformed_authorization")
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


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "via", "x_real_ip"])
def test_who_is_behind_a_proxy_on_this_machine_is_not_on_this_machine(header: str) -> None:
    with pytest.raises(MissingToken):
        ask(AuthRules(operator_token=OPERATOR, loopback_optional=True), LOCAL, **{header: "1"})


# -- a name that a proxy vouches for ------------------------------------------------------

PROXIED = AuthRules(
    operator_token=OPERATOR,
    callers=((WEB, Caller(name="web")),),
    proxy_user_header="x-forwarded-user",
)


def test_a_trusted_proxy_names_the_caller() -> None:
    assert ask(PROXIED, LOCAL, x_forwarded_user="alice") == Caller(name="alice")
    assert ask(PROXIED, LOCAL, X_FORWARDED_USER=" alice ") == Caller(name="alice")
    assert ask(PROXIED, LOCAL, x_forwarded_user="web") == Caller(name="web")
    longest = "a" * NAME_MAX_CHARS
    assert ask(PROXIED, LOCAL, x_forwarded_user=longest).name == longest


def test_a_token_that_only_the_proxy_knows_does_not_disturb_it() -> None:
    named = {"x_forwarded_user": "alice"}
    assert ask(PROXIED, LOCAL, **named, authorization="Bearer its-own").name == "alice"
    assert ask(PROXIED, LOCAL, **named, authorization="Basic YWxpY2U6cHc=").name == "alice"
    assert ask(PROXIED, LOCAL, **named, authorization=f"Bearer {OPERATOR}").operator


def test_behind_a_proxy_a_request_without_a_name_needs_a_token() -> None:
    for headers in ({}, {"x_forwarded_user": ""}, {"x_forwarded_user": "  "}):
        with pytest.raises(MissingToken):
            ask(PROXIED, LOCAL, **headers)
    with pytest.raises(WrongToken):
        ask(PROXIED, LOCAL, authorization="Bearer wrong")
    with pytest.raises(MalformedAuthorization):
        ask(PROXIED, LOCAL, authorization="Basic wrong")
    assert not Authenticator(AuthRules(proxy_user_header="x-forwarded-user")).open


@pytest.mark.parametrize(
    "name",
    ["al\udcffice", "al\tice", "a" * (NAME_MAX_CHARS + 1), "mallory, alice", "alice,"],
)
def test_what_is_not_a_name_is_refused_and_not_mended(name: str) -> None:
    """Cut or cleaned, it might be somebody else's."""
    with pytest.raises(InvalidProxyUser) as caught:
        ask(PROXIED, LOCAL, x_forwarded_user=name)
    assert (caught.value.status, caught.value.code) == (403, "invalid_proxy_user")
    assert name not in str(caught.value)


@pytest.mark.parametrize("names", [("mallory", "alice"), ("alice", "alice"), ("", "alice")])
def test_a_proxy_that_adds_its_header_to_the_clients_is_not_believed(names: tuple[str]) -> None:
    headers = CIMultiDict(("X-Forwarded-User", name) for name in names)
    with pytest.raises(InvalidProxyUser, match="more than once"):
        Authenticator(PROXIED).visitor(headers, LOCAL)


@pytest.mark.req("OPS-4", "SEC-2")
def test_who_came_before_is_known_by_the_same_words_and_by_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digested: list[str] = []
    digest = auth._digest

    def counted(token: str) -> bytes:
        digested.append(token)
        return digest(token)

    monkeypatch.setattr(auth, "_digest", counted)
    authenticator = Authenticator(TOKENS)

    def come(*values: str) -> Caller:
        headers = CIMultiDict(("Authorization", value) for value in values)
        return authenticator.visitor(headers, REMOTE).caller

    digested.clear()
    assert [come(f"Bearer {WEB}").name for _ in range(3)] == ["web"] * 3
    assert digested == [WEB]
    for wrong in (f"Bearer {WEB}x", f"Bearer {WEB[:-1]}", f"Bearer {WEB[:-1]}2"):
        for _ in range(2):  # what was wrong once is looked at as closely again
            with pytest.raises(WrongToken):
                come(wrong)
    with pytest.raises(MalformedAuthorization):
        come(f"Bearer {WEB}", f"Bearer {WEB}")
    key = CIMultiDict({"x-api-key": f"Bearer {WEB}"})
    with pytest.raises(WrongToken):  # the same words, but not in that header
        authenticator.visitor(key, REMOTE)
    assert come(f"Bearer {OPERATOR}").operator


def test_what_is_remembered_of_those_who_came_is_bounded_and_of_holders_of_tokens() -> None:
    authenticator = Authenticator(TOKENS)
    for number in range(3 * SPELLINGS_KEPT):
        spelled = CIMultiDict({"authorization": f"Bearer {' ' * number}{WEB}"})
        assert authenticator.visitor(spelled, REMOTE).caller.name == "web"
        wrong = CIMultiDict({"authorization": f"Bearer wrong-{number}"})
        with pytest.raises(WrongToken):
            authenticator.visitor(wrong, REMOTE)
    assert len(authenticator._seen) <= SPELLINGS_KEPT + 2
    assert not any("wrong" in words for words in authenticator._seen)


def test_a_visitor_shows_no_token() -> None:
    visitor = Authenticator(TOKENS).visitor(CIMultiDict(authorization=f"Bearer {WEB}"), REMOTE)
    assert visitor.token == WEB
    assert WEB not in f"{visitor!r} {visitor}"


def test_nobody_gets_the_operators_name_from_a_proxy() -> None:
    with pytest.raises(InvalidProxyUser, match="the operator comes with a token"):
        ask(PROXIED, LOCAL, x_forwarded_user="operator")


@pytest.mark.parametrize(
    "remote", [REMOTE, "10.0.0.1", "::ffff:10.0.0.1", "::2", "", None, "localhost", "unix:"]
)
def test_from_elsewhere_the_header_is_as_if_it_were_not_there(remote: str | None) -> None:
    with pytest.raises(MissingToken):
        ask(PROXIED, remote, x_forwarded_user="alice")
    with pytest.raises(WrongToken):
        ask(PROXIED, remote, x_forwarded_user="al\udcffice", authorization="Bearer wrong")
    token = {"authorization": f"Bearer {WEB}"}
    assert ask(PROXIED, remote, x_forwarded_user="alice", **token).name == "web"


@pytest.mark.parametrize(
    ("proxies", "trusted", "strangers"),
    [
        (["127.0.0.1"], ["127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7F00:1"], ["127.0.0.2", "::1"]),
        (["10.1.0.0/16"], ["10.1.255.255", "::ffff:10.1.0.0"], ["10.2.0.0", "::10.1.0.0", LOCAL]),
        (["fe80::/10", "10.0.0.1"], ["fe80::1%eth0", "10.0.0.1"], ["fd00::1", "10.0.0.1.2"]),
        (["::ffff:10.0.0.0/120"], ["10.0.0.9", "::ffff:10.0.0.9"], ["10.0.1.9"]),
    ],
)
def test_only_from_where_a_proxy_is_trusted_does_its_header_count(
    proxies: list[str], trusted: list[str], strangers: list[str]
) -> None:
    rules = AuthRules(proxy_user_header="x-forwarded-user", proxies=tuple(map(network, proxies)))
    for remote in trusted:
        assert ask(rules, remote, x_forwarded_user="alice").name == "alice", remote
    for remote in strangers:
        with pytest.raises(MissingToken):
            ask(rules, remote, x_forwarded_user="alice")


def test_each_address_from_which_a_header_is_ignored_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    authenticator = Authenticator(PROXIED)
    headers = CIMultiDict({"x-forwarded-user": "alice"})
    for number in range(2 * STRANGERS_TOLD):
        for _ in range(3):
            with pytest.raises(MissingToken):
                authenticator.visitor(headers, f"10.0.0.{number}")
    told = [r for r in caplog.records if r.getMessage() == "proxy_header_ignored"]
    assert [r.fields["remote"] for r in told] == [f"10.0.0.{n}" for n in range(STRANGERS_TOLD)]
    assert "alice" not in str([r.fields for r in told])


def test_a_proxys_header_means_nothing_where_no_proxy_is_trusted() -> None:
    with pytest.raises(MissingToken):
        ask(TOKENS, x_forwarded_user="alice")


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
    assert "***" not in missing.error["message"]  # it tells how, and nothing of that is a secret
    wrong = await edge.ask(method, path, authorization="Bearer sk-wrong-0123456789")
    assert (wrong.status, wrong.error["code"]) == (403, "invalid_api_key")
    assert "www-authenticate" not in wrong.headers
    assert b"sk-wrong" not in wrong.body
    assert engine.asked == []


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
async def test_health_is_open(make_edge: MakeEdge, path: str) -> None:
    edge = await make_edge(GUARDED)
    assert (await edge.ask("GET", path)).status == 200


async def test_every_refusal_has_a_code_of_its_own() -> None:
    kinds: list[type[GatewayError]] = [
        *(MissingToken, MalformedAuthorization, WrongToken, InvalidProxyUser, Forbidden)
    ]
    assert [(kind.code, kind.status, kind.retriable) for kind in kinds] == [
        ("missing_token", 401, False),
        ("malformed_authorization", 401, False),
        ("invalid_api_key", 403, False),
        ("invalid_proxy_user", 403, False),
        ("operator_only", 403, False),
    ]


async def test_the_codes_arrive_at_the_client(make_edge: MakeEdge) -> None:
    edge = await make_edge(f"auth: {{token: {OPERATOR}, trust_proxy_auth: true}}")
    basic = await edge.ask("GET", "/v1/models", authorization="Basic YWxpY2U6cHc=")
    assert (basic.status, basic.error["code"]) == (401, "malformed_authorization")
    assert basic.headers["www-authenticate"].startswith("Bearer ")
    assert "***" not in basic.error["message"]
    nobody = await edge.ask("GET", "/v1/models", **{"x-forwarded-user": "mallory, alice"})
    assert (nobody.status, nobody.error["code"]) == (403, "invalid_proxy_user")
    named = await edge.ask("GET", "/v1/models", **{"x-forwarded-user": "alice"})
    assert named.status == 200


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
